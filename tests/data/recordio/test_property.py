from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from common.errors import UserError
from data.recordio.property import Property, read_property, write_property

LINE = "30,112,112"
READABLE = [
    LINE.encode(),
    b"30,112,112\n",
    b"30,112,112\r\n",
    b"30,112,112\rshuffled\r",
    b"30,112,112\nshuffled\nmore",
    b"  30 , 112,\t112 \n",
    b"\n\n30,112,112\n",
    b"030,112,112\n",
    codecs.BOM_UTF8 + b"30,112,112\n",
    LINE.encode("utf-16"),
    codecs.BOM_UTF16_BE + LINE.encode("utf-16-be"),
]
REFUSED = [
    (b"", "empty, expected 'num_classes,height,width'"),
    (b" \n \n", "empty, expected"),
    (b"30 112 112", "found '30 112 112', expected"),
    (b"30;112;112", "found '30;112;112', expected"),
    (b"30,112", "found '30,112', expected"),
    (b"30,112,112,3", "found '30,112,112,3', expected"),
    (b"30.0,112,112", "found '30.0,112,112', expected"),
    (b"-30,112,112", "found '-30,112,112', expected"),
    (b"0,112,112", "found '0,112,112', expected"),
    (b"1_000,112,112", "found '1_000,112,112', expected"),
    (b"num_classes=30,112,112", "found 'num_classes=30,112,112', expected"),
    ("３０,112,112".encode(), "found '３０,112,112', expected"),
    ("30,112,112 # größe".encode("latin-1"), r"byte 15 \(line 1\) is 0xf6, which is not UTF-8; save the file as UTF-8"),
    (LINE.encode("utf-16-le"), r"byte 1 \(line 1\) is 0x00, as in UTF-16 without a byte order mark"),
]


@pytest.mark.parametrize("content", READABLE)
def test_one_meaning_in_many_spellings(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "property").write_bytes(content)
    assert read_property(tmp_path) == Property(30, 112, 112)


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_other_spellings_are_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "property").write_bytes(content)
    with pytest.raises(UserError, match=rf"/property: {message}") as raised:
        read_property(tmp_path)
    assert "\n" not in str(raised.value)


def test_what_is_not_a_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="property cannot be read .No such file"):
        read_property(tmp_path)
    (tmp_path / "property").mkdir()
    with pytest.raises(UserError, match="property cannot be read .Is a directory"):
        read_property(tmp_path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_property(tmp_path, Property(360232, 112, 112))
    assert (tmp_path / "property").read_bytes() == b"360232,112,112\n"
    assert read_property(tmp_path) == Property(360232, 112, 112)
