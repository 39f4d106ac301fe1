"""The file of embeddings that every protocol reads: a NumPy ``.npz`` of one set of images and one model.

    store = read_store("faces.npz")
    store.embeddings[3], store.names[3], store.about["model_sha256"]

``numpy.load`` reads it too. Its arrays:

    embeddings  float32 or float16 [N, E], as the model gives them, not normalised; with the mirrored image, the sum
    norms       float32 [N], the L2 norm of each row before rounding to float16
    names       text [N]: the path below the input folder, the key of a record, or the number in a .bin
    about       text: JSON with the keys of ``describe``
    labels      int64 [N], the class of each image; only if the input has classes
    issame      bool [N / 2], whether images 2i and 2i + 1 show one person; only from a .bin

The embeddings come first and are not compressed, so that they are mapped into memory instead of read.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from common.errors import UserError, require
from common.files import atomic_file
from common.json_text import parse_json
from common.numpy_files import NUMPY_ERRORS, describe_error
from common.workers import available_cpus, map_in_threads

FORMAT, VERSION = "face embeddings", 1
_NEEDED = ("embeddings", "norms", "names", "about")
_CHECKED = 4096  # rows that are checked for NaN at a time
_ALIGNMENT = 64  # bytes; BLAS would copy rows that do not start at a multiple of their size


@dataclass(frozen=True, eq=False)
class EmbeddingStore:
    """Embeddings of N images; see the module for the arrays.

    Attributes:
        path: the file.
        embeddings: [N, E], mapped, read-only.
        norms: [N].
        names: [N].
        about: the description of model, images and preprocessing.
        labels: [N], or None.
        issame: [N / 2], or None.
    """

    path: Path
    embeddings: np.ndarray
    norms: np.ndarray
    names: np.ndarray
    about: Mapping[str, Any]
    labels: np.ndarray | None = None
    issame: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)


def describe(
    model: Mapping[str, Any], images: Mapping[str, Any], photos: Mapping[str, Any], mirrored: bool, dtype: str
) -> dict[str, Any]:
    """Return the description that goes into the file.

    Args:
        model: ``model`` (its path), ``model_sha256``, ``network``, ``loss``, ``dataset``, ``step``, and what the
            network takes: ``preprocessing``, ``input``, ``emb_size``.
        images: ``source`` (the path), ``source_sha256``, ``images`` (their number) and ``landmarks``, whether a list
            gave them.
        photos: ``detector``, which found the faces to align, or None, and ``resized``, whether others were scaled.
        mirrored: whether a row is f(image) + f(mirrored image).
        dtype: float32 or float16.
    """
    return {"format": FORMAT, "version": VERSION, **model, **images, **photos, "mirrored": mirrored, "dtype": dtype}


def different_work(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two descriptions differ, apart from the paths of model and images."""
    keys = {*first, *second} - {"model", "source"}
    return sorted(key for key in keys if first.get(key) != second.get(key))


def write_store(
    path: str | Path,
    pieces: Iterable[np.ndarray],
    norms: np.ndarray,
    names: Iterable[str],
    about: Mapping[str, Any],
    labels: np.ndarray | None = None,
    issame: np.ndarray | None = None,
) -> None:
    """Write a file of embeddings; it appears once it is complete.

    Args:
        path: the file, ``.npz``.
        pieces: rows [n, E] of one type, which together are the N rows; they need not fit into memory together.
        norms: [N].
        names: N names.
        about: the description.
        labels: [N], or None.
        issame: [N / 2], or None.

    Raises:
        UserError: the file cannot be written.
    """
    others = {
        "norms": np.asarray(norms, np.float32),
        "names": np.array(list(names), np.str_),
        "about": np.array(json.dumps(about, ensure_ascii=False)),
    }
    if labels is not None:
        others["labels"] = np.asarray(labels, np.int64)
    if issame is not None:
        others["issame"] = np.asarray(issame, bool)
    shape = (len(others["norms"]), about["emb_size"])
    with atomic_file(path) as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        # ZipInfo has no time of writing, so equal contents are equal files.
        with archive.open(zipfile.ZipInfo("embeddings.npy"), "w", force_zip64=True) as member:
            _write_rows(member, pieces, shape, np.dtype(about["dtype"]))
        for name, array in others.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_store(path: str | Path) -> EmbeddingStore:
    """Open a file of embeddings.

    Raises:
        UserError: it is missing or damaged, or not a file of embeddings of this version.
    """
    path = Path(path)
    require(path.is_file(), f"{path} is not a file; write embeddings with tools/embed.py")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in _NEEDED if name not in file.files]
            if missing:
                raise UserError(f"{path} has no {', '.join(missing)}; expected a file of tools/embed.py")
            about = parse_json(str(file["about"]))
            arrays = {name: file[name] for name in ("norms", "names", "labels", "issame") if name in file.files}
        embeddings = _map_rows(path)
    except NUMPY_ERRORS as error:
        why = describe_error(error)
        raise UserError(f"{path} is damaged or not a file of embeddings ({why}); embed again") from error
    if not isinstance(about, dict) or (about.get("format"), about.get("version")) != (FORMAT, VERSION):
        raise UserError(f"{path} is not of format '{FORMAT}', version {VERSION}; embed again")
    count = len(arrays["names"])
    if embeddings.ndim != 2 or {len(embeddings), len(arrays["norms"]), len(arrays.get("labels", arrays["norms"]))} != {
        count
    }:
        raise UserError(f"{path}: {embeddings.shape} embeddings for {count} names; embed again")
    return EmbeddingStore(path=path, embeddings=embeddings, about=about, **arrays)


def require_finite(path: object, rows: np.ndarray, names: Sequence[str]) -> None:
    """Check rows [N, E] for NaN and Inf.

    Args:
        path: where they are from, for the message.
        rows: embeddings.
        names: of the N images.

    Raises:
        UserError: a row is not finite; the message names the first image.
    """
    starts = range(0, len(rows), _CHECKED)

    def count_bad(start: int) -> np.ndarray:
        return start + np.flatnonzero(~np.isfinite(rows[start : start + _CHECKED]).all(axis=1))

    with map_in_threads(count_bad, starts, available_cpus()) as found:
        bad = np.concatenate(list(found))
    require(
        not len(bad), f"{path}: the embedding of {names[bad[0]] if len(bad) else ''} is NaN or Inf ({len(bad)} are)"
    )


def _write_rows(member: IO[bytes], pieces: Iterable[np.ndarray], shape: tuple[int, int], dtype: np.dtype) -> None:
    np.lib.format.write_array_header_1_0(
        member, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    written = 0
    for piece in pieces:
        if piece.dtype != dtype or piece.ndim != 2 or piece.shape[1] != shape[1]:
            raise ValueError(f"rows {piece.dtype} {piece.shape}, expected {dtype} [n, {shape[1]}]")
        member.write(np.ascontiguousarray(piece).tobytes())
        written += len(piece)
    if written != shape[0]:
        raise ValueError(f"{written} rows, expected {shape[0]}")


def _map_rows(path: Path) -> np.ndarray:
    """Return the embeddings, mapped where the file permits."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("embeddings.npy")
    if info.compress_type == zipfile.ZIP_STORED:
        with open(path, "rb") as handle:
            handle.seek(info.header_offset + 26)  # behind it: name, extra field, data
            begin = info.header_offset + 30 + int(np.frombuffer(handle.read(4), "<u2").sum())
            handle.seek(begin)
            if np.lib.format.read_magic(handle) == (1, 0):
                shape, in_columns, dtype = np.lib.format.read_array_header_1_0(handle)
                offset, size = handle.tell(), int(np.prod(shape)) * dtype.itemsize
                if size and not in_columns and dtype.kind == "f" and offset % _ALIGNMENT == 0:
                    if offset + size > begin + info.file_size:
                        raise ValueError("its rows are cut off")
                    return np.memmap(path, dtype, "r", offset, shape)
    with np.load(path, allow_pickle=False) as file:
        return file["embeddings"]
