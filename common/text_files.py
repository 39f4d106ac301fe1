"""Read text files as people's editors save them: UTF-8, or any Unicode encoding that its byte order mark names."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import UserError

# The marks of UTF-32 begin with those of UTF-16, so they come first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)


def read_text(path: str | Path, flag: str = "", keep_bytes: bool = False) -> str:
    """Return the text of a file, with every line end as a line feed and without a byte order mark.

    Args:
        path: the file.
        flag: the flag that names it, for the message.
        keep_bytes: keep bytes that are not UTF-8, as ``os.fsdecode`` does, for files that hold the names of files.

    Raises:
        UserError: the file cannot be read, or a byte is not part of a text in the encoding; the message names it.
    """
    name = f"{flag} {path}".strip()
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror})") from error
    mark, codec, encoding = next((each for each in _MARKS if content.startswith(each[0])), (b"", "utf-8", "UTF-8"))
    try:
        text = content[len(mark) :].decode(codec, "surrogateescape" if keep_bytes and codec == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        place, what = len(mark) + error.start, f"0x{error.object[error.start]:02x}, which is not {encoding}"
        raise _error(name, content, place, what) from error
    if "\0" in text:
        raise _error(name, content, content.index(0), "0x00, as in UTF-16 without a byte order mark")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | Path, flag: str = "", keep_bytes: bool = False) -> list[str]:
    """Return the lines of a file, as ``read_text`` reads it.

    Unlike ``str.splitlines``, only line ends end a line, not the rarer separators that names of files may contain.
    """
    lines = read_text(path, flag, keep_bytes).split("\n")
    return lines if lines[-1] else lines[:-1]


@contextmanager
def reading_csv(path: str | Path) -> Iterator[None]:
    """Turn an error of the ``csv`` module about the text of ``path`` into a ``UserError``."""
    try:
        yield
    except csv.Error as error:
        raise UserError(f"{path} is not a table of values separated by commas ({error})") from error


def _error(name: str, content: bytes, place: int, what: str) -> UserError:
    line = content.count(b"\n", 0, place) + 1
    return UserError(f"{name}: byte {place} (line {line}) is {what}; save the file as UTF-8")
