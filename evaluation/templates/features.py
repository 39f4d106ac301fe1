"""The features of IJB's images, from stored embeddings of this project or of InsightFace's ``ijb_evals.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, require
from common.numpy_files import NUMPY_ERRORS
from evaluation.embedding_store import read_store, require_finite
from evaluation.templates.modes import ALONE, SIDE_BY_SIDE, SUM, Mode


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Features of N images, as far as they are known.

    Attributes:
        alone: f(image), float [N, E], or None.
        mirrored: f(mirrored image), or None.
        summed: f(image) + f(mirrored image), or None.
        about: what the files say of the model.
    """

    alone: np.ndarray | None = None
    mirrored: np.ndarray | None = None
    summed: np.ndarray | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def require_for(self, modes: Iterable[Mode]) -> None:
        """Check that what the modes take is stored.

        Raises:
            UserError: it is not; a line for each mode.
        """
        has = {
            SUM: self.summed is not None or self.mirrored is not None,
            ALONE: self.alone is not None,
            SIDE_BY_SIDE: self.alone is not None and (self.mirrored is not None or self.summed is not None),
        }
        needs = {
            SUM: "embeddings of tools/embed.py --flip 1",
            ALONE: "embeddings of tools/embed.py --flip 0",
            SIDE_BY_SIDE: "two files of embeddings, of tools/embed.py --flip 1 and --flip 0",
        }
        missing = [f"mode {mode} takes {needs[mode.flip]}" for mode in modes if not has[mode.flip]]
        if missing:
            raise UserError(*missing)

    def of(self, mode: Mode) -> np.ndarray:
        """Return the features that a mode takes, float [N, E] or [N, 2 E].

        If only image and sum are stored, the mirrored image's are the difference, exact to float32's rounding.
        """
        if mode.flip == ALONE:
            return self.alone
        if mode.flip == SUM:
            return self.summed if self.summed is not None else self.alone + self.mirrored
        mirrored = self.mirrored
        if mirrored is None:
            mirrored = np.asarray(self.summed, np.float32) - np.asarray(self.alone, np.float32)
        return np.concatenate([self.alone, mirrored], axis=1)


def read_features(paths: Iterable[str | Path], names: Sequence[str]) -> ImageFeatures:
    """Read one or two files of embeddings and put their rows into the order of ``names``.

    Args:
        paths: files of tools/embed.py, with the mirrored image or without; or one of ``ijb_evals.py
            --save_embeddings`` (arrays ``embs`` and ``embs_f`` in the order of the list).
        names: the N images.

    Raises:
        UserError: a file is missing or damaged, lacks images, or has NaN or Inf; or two are of one kind, or of two
            models.
    """
    found: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {}
    for path in map(Path, paths):
        if arrays := _read_insightface(path):
            lengths = {len(array) for array in arrays.values()}
            require(
                lengths == {len(names)},
                f"{path} has {' and '.join(map(str, sorted(lengths)))} embeddings for {len(names)} images",
            )
            about.setdefault("embeddings", []).append(str(path))
        else:
            arrays = _read_own(path, names, about)
        twice = sorted(set(arrays) & set(found))
        require(
            not twice, f"{path} holds embeddings of the {' and '.join(twice)} image, as another file does; give one"
        )
        for array in arrays.values():
            require_finite(path, array, names)
        found |= arrays
    sizes = {array.shape[1] for array in found.values()}
    require(
        len(sizes) == 1, f"embeddings of {' and '.join(map(str, sorted(sizes)))} numbers; they must be of one model"
    )
    return ImageFeatures(found.get("alone"), found.get("mirrored"), found.get("summed"), about)


def _read_own(path: Path, names: Sequence[str], about: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the embeddings of a file of tools/embed.py, and add to ``about``."""
    store = read_store(path)
    checksum = store.about.get("model_sha256")
    require(
        about.get("model_sha256", checksum) == checksum,
        f"{path} is of another model than {', '.join(about.get('embeddings', []))}; give files of one model",
    )
    about.update({key: store.about.get(key) for key in ("model", "model_sha256", "network", "loss", "dataset", "step")})
    about.setdefault("embeddings", []).append(str(path))
    rows = store.embeddings
    if store.names.tolist() != list(names):
        row_of = {name: row for row, name in enumerate(store.names.tolist())}
        missing = [name for name in names if name not in row_of]
        if missing:
            raise UserError(f"{path} has no embedding of {missing[0]} and {len(missing) - 1} other images of the list")
        rows = rows[[row_of[name] for name in names]]
    return {"summed" if store.about.get("mirrored") else "alone": rows}


def _read_insightface(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of ``ijb_evals.py``; nothing if it is another file."""
    if not path.is_file():
        return {}  # the reader of the store says so
    try:
        with np.load(path, allow_pickle=False) as file:
            if "embs" not in file.files:
                return {}
            arrays = {"alone": file["embs"]}
            if "embs_f" in file.files and file["embs_f"].size:
                arrays["mirrored"] = file["embs_f"]
    except NUMPY_ERRORS:
        return {}
    for array in arrays.values():
        require(array.ndim == 2 and array.dtype.kind == "f", f"{path}: embs is {array.dtype} {array.shape}, not [N, E]")
    return {name: array.astype(np.float32, copy=False) for name, array in arrays.items()}
