"""Read text files of millions of whole numbers, such as the pairs of IJB-C."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.errors import UserError

_CHUNK = 1 << 24  # bytes
_SPACES = (b" ", b"\n", b"\t", b"\r")


def read_number_table(path: str | Path, columns: int, dtype: type = np.int32) -> np.ndarray:
    """Read a file with ``columns`` whole numbers of at most nine digits in each line, separated by spaces or tabs.

    Returns:
        An array [lines, columns] of ``dtype``; empty lines are left out.

    Raises:
        UserError: the file cannot be read, is empty, or a line has another form; the message names it.
    """
    parts, line = [], 1
    for chunk in _chunks(Path(path)):
        part = _parse(chunk, columns)
        if part is None:
            part = _parse_lines(path, line, chunk, columns)
        parts.append(part.astype(dtype))
        line += chunk.count(b"\n")
    if not sum(map(len, parts)):
        raise UserError(f"{path} is empty; expected lines of {columns} whole numbers")
    return np.concatenate(parts)


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield pieces of the file that end at the end of a line."""
    try:
        with open(path, "rb") as handle:
            rest = b""
            while block := handle.read(_CHUNK):
                end = block.rfind(b"\n") + 1
                if end:
                    yield rest + block[:end]
                    rest = block[end:]
                else:
                    rest += block
            if rest:
                yield rest
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error


def _parse(chunk: bytes, columns: int) -> np.ndarray | None:
    """Return the numbers, or None if a line has not exactly ``columns`` words or a word is not a number."""
    letters = np.frombuffer(chunk if chunk.endswith(b"\n") else chunk + b"\n", np.uint8)
    is_space = np.isin(letters, np.frombuffer(b"".join(_SPACES), np.uint8))
    begins = np.flatnonzero(~is_space & np.r_[True, is_space[:-1]])
    ends = np.flatnonzero(letters == ord("\n"))
    if len(begins) != columns * len(ends):
        return None
    # The first word of a line stands behind the end of the line before, the last one before the line's own end.
    if (begins[::columns][1:] < ends[:-1]).any() or (begins[columns - 1 :: columns] > ends).any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's way to say that it met something else
        try:
            numbers = np.fromstring(chunk.decode("ascii"), np.int64, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    if len(numbers) != len(begins) or numbers.min() < 0 or numbers.max() >= 10**9:
        return None
    return numbers.reshape(-1, columns)


def _parse_lines(path: str | Path, first_line: int, chunk: bytes, columns: int) -> np.ndarray:
    """Parse line by line: slower, with empty lines, and with a message for the first line that cannot be read."""
    form = re.compile(rb"\s*" + rb"\s+".join([rb"(\d{1,9})"] * columns) + rb"\s*")
    rows = []
    for number, line in enumerate(chunk.split(b"\n"), first_line):
        if line.strip():
            match = form.fullmatch(line)
            if match is None:
                shown = line.decode("utf-8", "replace").strip()[:60]
                raise UserError(f"{path} line {number}: '{shown}' is not {columns} whole numbers")
            rows.append([int(word) for word in match.groups()])
    return np.array(rows, np.int64).reshape(-1, columns)
