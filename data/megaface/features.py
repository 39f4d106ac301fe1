"""Feature files of MegaFace's development kit: one ``FILE_ALGO.bin`` per image.

A file is an OpenCV matrix: four little-endian int32 (numbers, 1, 4, 5: one column, 4 bytes, float32), then the numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError, require, shorten
from common.progress import progress
from common.workers import map_in_threads
from data.photos.walk import printable

_HEADER = np.dtype("<i4")
_COLUMNS, _BYTES, _TYPE = 1, 4, 5
_CHUNK = 256  # files that a thread reads at a time


def feature_path(folder: str | Path, name: str, algo: str) -> Path:
    """Return the path of an image's features: ``folder/NAME_ALGO.bin``."""
    return Path(folder) / f"{name}_{algo}.bin"


def read_feature(path: str | Path) -> np.ndarray:
    """Return the numbers of a feature file, float32 [E].

    Raises:
        UserError: the file is missing, not a feature file, of another length than it says, or not finite.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read ({error.strerror})") from error
    if len(content) < 16:
        raise UserError(f"{printable(path)} has {len(content)} bytes; a feature file has at least 16")
    length, columns, size, kind = np.frombuffer(content, _HEADER, 4).tolist()
    if (columns, size, kind) != (_COLUMNS, _BYTES, _TYPE) or length < 1:
        raise UserError(
            f"{printable(path)} begins with {length}, {columns}, {size}, {kind}; "
            "expected a length and 1, 4, 5, as in feature files of MegaFace"
        )
    if len(content) != 16 + 4 * length:
        raise UserError(f"{printable(path)} has {len(content)} bytes; expected {16 + 4 * length} for {length} numbers")
    numbers = np.frombuffer(content, "<f4", length, 16)
    if not np.isfinite(numbers).all():
        raise UserError(f"{printable(path)} contains NaN or Inf")
    return numbers


def write_feature(path: str | Path, numbers: np.ndarray) -> None:
    """Write the numbers [E] of an image; its folder exists.

    Raises:
        UserError: the file cannot be written.
    """
    header = np.array([len(numbers), _COLUMNS, _BYTES, _TYPE], _HEADER)
    try:
        Path(path).write_bytes(header.tobytes() + np.asarray(numbers, "<f4").tobytes())
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be written ({error.strerror})") from error


def read_features(folder: str | Path, names: Sequence[str], algo: str, num_workers: int = 1) -> np.ndarray:
    """Return the features of images, float32 [N, E], in the order of ``names``.

    Args:
        folder: the folder that the names are relative to.
        names: names of images.
        algo: the word before ``.bin`` in the names of the files.
        num_workers: threads that read.

    Raises:
        UserError: files are missing or damaged, or have different lengths.
    """
    require(Path(folder).is_dir(), f"{printable(folder)} is not a folder of feature files")
    first = read_feature(feature_path(folder, names[0], algo))
    rows = np.empty((len(names), len(first)), np.float32)
    starts = range(0, len(names), _CHUNK)
    problems: list[str] = []
    read = functools.partial(_read_some, rows=rows, folder=folder, names=names, algo=algo)
    with (
        progress(total=len(names), desc="reading features", unit="file") as bar,
        map_in_threads(read, starts, num_workers) as results,
    ):
        for found in results:
            problems += found
            bar.update(_CHUNK)
    if problems:
        counted = f"{len(problems)} of {len(names)} feature files in {printable(folder)} cannot be used"
        raise UserError(*shorten(problems, "feature files", 5), counted)
    return rows


def _read_some(start: int, rows: np.ndarray, folder: str | Path, names: Sequence[str], algo: str) -> list[str]:
    """Fill some rows and return the problems."""
    width = rows.shape[1]
    header = np.array([width, _COLUMNS, _BYTES, _TYPE], _HEADER).tobytes()
    problems = []
    for number in range(start, min(start + _CHUNK, len(names))):
        path = f"{folder}/{names[number]}_{algo}.bin"
        try:
            with open(path, "rb", buffering=0) as handle:
                content = handle.read(len(header) + 4 * width + 1)
        except OSError:
            content = b""
        if len(content) == len(header) + 4 * width and content.startswith(header):
            rows[number] = np.frombuffer(content, "<f4", width, len(header))
            if np.isfinite(rows[number]).all():
                continue
        problems.append(_describe_problem(path, width, names[0]))
    return problems


def _describe_problem(path: str, width: int, first: str) -> str:
    """Say why a file that was read in vain cannot be used."""
    try:
        length = len(read_feature(path))
    except UserError as error:
        return str(error)
    return f"{printable(path)} has {length} numbers; expected {width} as in {printable(first)}"


def write_features(folder: str | Path, names: Sequence[str], algo: str, rows: Iterable[np.ndarray]) -> None:
    """Write the features [E] of each image below ``folder``, which is created.

    Raises:
        UserError: a file cannot be written.
    """
    made: set[Path] = set()
    for name, numbers in progress(zip(names, rows, strict=True), len(names), "writing features", "file"):
        path = feature_path(folder, name, algo)
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        write_feature(path, numbers)
