"""Reading snapshots: each file is checked against the manifest when it is first read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from common.errors import UserError, lookup
from common.json_text import parse_json
from ops.moments import MOMENTS
from snapshots.layout import AVERAGE, BACKBONE, DATA, FORMAT, MANIFEST, VERSION, snapshot_step
from snapshots.safetensors_file import read_rows

_BLOCK = 1 << 14  # class rows read at a time where all of them may not fit the memory
_FILE_NAME = re.compile(r"\w[\w.\-]*")
_NEEDED = ("config", "files")
_NEEDED_TO_RESUME = ("step", "position", "highest_accuracy", "fc7")


def _are_settings(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key, ""), str) for key in ("network", "loss", "dataset")
    )


def _are_files(value: Any) -> bool:
    if not isinstance(value, dict) or not all(_FILE_NAME.fullmatch(name) for name in value):
        return False  # or a file outside the snapshot
    kinds = {"bytes": int, "sha256": str}
    return all(
        isinstance(each, dict) and all(isinstance(each.get(k), kinds[k]) for k in kinds) for each in value.values()
    )


def _is_head(value: Any) -> bool:
    kinds = {"num_classes": int, "shards": list}
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), kind) for key, kind in kinds.items())
        and all(_is_shard(shard) for shard in value["shards"])
        and bool(value["shards"]) == (value["num_classes"] > 0)
        and _are_trained_numbers(value.get("loss_trained", {}))
    )


def _are_trained_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(numbers, dict)
        and "value" in numbers
        and all(isinstance(number, float | int) for number in numbers.values())
        for numbers in value.values()
    )


def _is_shard(value: Any) -> bool:
    rows = value.get("rows") if isinstance(value, dict) else None
    return (
        isinstance(rows, list)
        and isinstance(value.get("file"), str)
        and len(rows) == 2
        and all(type(row) is int for row in rows)
        and 0 <= rows[0] <= rows[1]
    )


# What the entries of a manifest are; a damaged one must not end in a traceback.
_SOUND: Mapping[str, Callable[[Any], bool]] = {
    "config": _are_settings,
    "files": _are_files,
    "step": lambda value: isinstance(value, int),
    "fc7": _is_head,
    "optimizer": lambda value: isinstance(value, dict),
    "ema": lambda value: isinstance(value, dict) and isinstance(value.get("updates"), int),
}


def newest_snapshot(root: Path) -> Path | None:
    """Return the snapshot with the most steps below ``root``; None if there is none."""
    steps = {path: snapshot_step(path) for path in root.glob("snapshot_*")}
    return max((path for path, step in steps.items() if step is not None), key=steps.get, default=None)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 22), b""):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk. Every file of its manifest is there and has the size that the manifest gives.

    Attributes:
        path: the folder.
        about: the manifest.
    """

    path: Path
    about: dict[str, Any]
    _checked: set[str] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Snapshot:
        """Read the manifest.

        Raises:
            UserError: ``path`` is not a snapshot or of an unknown version, or one of its files is missing or of another
                size.
        """
        path = Path(path)
        manifest = path / MANIFEST
        if not manifest.is_file():
            advice = "; tools/model_convert makes a snapshot of it" if path.is_file() else ""
            raise UserError(
                f"{path} is not a snapshot: it has no {MANIFEST}; snapshots are folders like snapshot_5000{advice}"
            )
        try:
            about = parse_json(manifest.read_text())
        except ValueError as error:
            raise UserError(f"{manifest} is damaged ({error}); use another snapshot") from error
        if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("version") != VERSION:
            raise UserError(f"{manifest} is not of format {FORMAT}, version {VERSION}")
        needed = _NEEDED + (_NEEDED_TO_RESUME if "fc7" in about else ())
        lacking = [key for key in needed if key not in about]
        if lacking:
            raise UserError(f"{manifest} is damaged: it lacks {', '.join(lacking)}; use another snapshot")
        wrong = [key for key, is_sound in _SOUND.items() if key in about and not is_sound(about[key])]
        if wrong:
            raise UserError(f"{manifest} is damaged: its {', '.join(wrong)} cannot be right; use another snapshot")
        shards = [shard["file"] for shard in about["fc7"]["shards"]] if "fc7" in about else []
        lacking = [name for name in shards if name not in about["files"]]
        if lacking:
            raise UserError(f"{manifest} is damaged: its files lack {', '.join(lacking)}; use another snapshot")
        for name, facts in about["files"].items():
            size = (path / name).stat().st_size if (path / name).is_file() else None
            if size != facts["bytes"]:
                found = "missing" if size is None else f"of {size} bytes"
                raise UserError(f"{path / name} is {found}, expected {facts['bytes']} bytes; use another snapshot")
        return cls(path, about)

    @property
    def is_full(self) -> bool:
        """Whether training can resume from here: momentum and fc7 are in it."""
        return "fc7" in self.about

    @property
    def has_classes(self) -> bool:
        """Whether there are class rows: in all full snapshots except those of triplet losses."""
        return self.is_full and self.about["fc7"]["num_classes"] > 0

    def backbone(self) -> dict[str, np.ndarray]:
        """Return weights and moving statistics by MXNet name."""
        return self._load(BACKBONE)

    def average(self) -> Snapshot | None:
        """Return the average of the weights, a backbone-only snapshot; None where the run kept none.

        Raises:
            UserError: it is missing or damaged.
        """
        return Snapshot.open(self.path / AVERAGE) if "ema" in self.about else None

    @property
    def optimizer(self) -> dict[str, Any]:
        """The manifest's entry on the optimizer: ``name``, ``updates``, ``frozen_updates`` and ``loss_scale``.

        A snapshot without it was written by SGD with one update per step. Older ones did not freeze the backbone.
        """
        return {
            "name": "sgd",
            "updates": self.about.get("step", 0),
            "frozen_updates": 0,
            "loss_scale": {},
            **self.about.get("optimizer", {}),
        }

    def moments(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the backbone's moments by kind and MXNet name."""
        kinds = lookup(MOMENTS, self.optimizer["name"], f"optimizer of {self.path}")
        return {kind: self._load(f"{kind}.safetensors") for kind in kinds}

    def data(self) -> dict[str, np.ndarray]:
        """Return the triplets to come, by array name; empty unless the loss is a triplet loss."""
        return self._load(DATA) if DATA in self.about["files"] else {}

    def head_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return the class rows ``start`` .. ``stop - 1`` of every array of the head, from any number of shards.

        They are float32, also where the snapshot holds them in bfloat16. All rows at once may not fit the memory:
        ``head_pieces`` reads them in blocks.
        """
        shards = self.about["fc7"]["shards"]
        # An empty range (a rank with padding only) still has names and widths: those of the first shard.
        wanted = [s for s in shards if max(start, s["rows"][0]) < min(stop, s["rows"][1])] or shards[:1]
        pieces: dict[str, list[np.ndarray]] = {}
        for shard in wanted:
            first, last = shard["rows"]
            low, high = (max(start, first), min(stop, last)) if start < stop else (first, first)
            self._verify(shard["file"])
            for name, rows in read_rows(self.path / shard["file"], low - first, high - first).items():
                pieces.setdefault(name, []).append(rows)
        return {name: rows[0] if len(rows) == 1 else np.concatenate(rows) for name, rows in pieces.items()}

    def head_pieces(self, classes: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Yield the rows of ``classes`` (int64 [N], in any order) of every array of the head, block by block.

        With each block come the positions of its rows in ``classes``, int64.
        """
        order = np.argsort(classes, kind="stable")
        edges = np.arange(0, self.about["fc7"]["num_classes"] + _BLOCK, _BLOCK)
        for places in np.split(order, np.searchsorted(classes[order], edges)):
            if len(places):
                wanted = classes[places]
                rows = self.head_rows(int(wanted[0]), int(wanted[-1]) + 1)
                is_whole = wanted[-1] - wanted[0] + 1 == len(wanted)
                yield places, rows if is_whole else {n: array[wanted - wanted[0]] for n, array in rows.items()}

    def _load(self, name: str) -> dict[str, np.ndarray]:
        if name not in self.about["files"]:
            raise UserError(f"{self.path} has no {name}: it is a backbone-only snapshot and cannot resume a run")
        self._verify(name)
        try:
            with safe_open(self.path / name, framework="numpy") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise UserError(f"{self.path / name} is damaged ({error}); use another snapshot") from error

    def _verify(self, name: str) -> None:
        if name not in self._checked and checksum(self.path / name) != self.about["files"][name]["sha256"]:
            raise UserError(f"{self.path / name} does not match its checksum in {MANIFEST}; use another snapshot")
        self._checked.add(name)
