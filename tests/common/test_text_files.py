from __future__ import annotations

import codecs
import csv
import os
from pathlib import Path

import pytest

from common.errors import UserError
from common.text_files import read_lines, read_text, reading_csv

TEXT = "Müller\n李雷\nlast"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode("utf-16"),
    ],
)
def test_encodings_that_are_certain_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert read_text(tmp_path / "a.txt") == TEXT


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("Anna\nMüller\n".encode("latin-1"), r"byte 6 \(line 2\) is 0xfc, which is not UTF-8"),
        ("李雷\n".encode("gbk"), r"byte 0 \(line 1\) is 0xc0, which is not UTF-8"),
        ("30\n".encode("utf-16-le"), r"byte 1 \(line 1\) is 0x00, as in UTF-16 without a byte order mark"),
        (codecs.BOM_UTF16_LE + "30".encode("utf-16-le") + b"x", r"byte 6 \(line 1\) is 0x78, which is not UTF-16"),
        (codecs.BOM_UTF8 + b"a\n\n\xff", r"byte 6 \(line 3\) is 0xff, which is not UTF-8"),
    ],
)
def test_other_encodings_are_one_line_with_the_byte(tmp_path: Path, content: bytes, place: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.txt: {place}; save the file as UTF-8"):
        read_text(tmp_path / "a.txt")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--list .*/a\.txt cannot be read \(No such file"):
        read_text(tmp_path / "a.txt", "--list")


def test_names_of_files_keep_their_bytes(tmp_path: Path) -> None:
    name = "李雷".encode("gbk") + b".jpg"
    (tmp_path / "a.txt").write_bytes(name + b"\r\nb.jpg\n")
    assert list(map(os.fsencode, read_text(tmp_path / "a.txt", keep_bytes=True).splitlines())) == [name, b"b.jpg"]
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF16_LE + "李雷".encode("utf-16-le"))
    assert read_text(tmp_path / "a.txt", keep_bytes=True) == "李雷"


def test_only_line_ends_end_a_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes("a\r\n\u2028b\x0b\x85c\r\n\nd".encode())
    assert read_lines(tmp_path / "list") == ["a", "\u2028b\x0b\x85c", "", "d"]
    (tmp_path / "list").write_bytes(b"a\n")
    assert read_lines(tmp_path / "list") == ["a"]


def test_a_field_that_is_too_long_for_a_table_is_one_line() -> None:
    what = r"^a\.csv is not a table of values separated by commas \(field larger"
    with pytest.raises(UserError, match=what), reading_csv("a.csv"):
        list(csv.reader(["x" * 200_000]))
