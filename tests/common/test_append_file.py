from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.append_file import AppendFile


def test_it_appends(tmp_path: Path) -> None:
    said: list[str] = []
    for word in (b"one\n", b"two\n"):
        file = AppendFile(tmp_path / "new" / "a.log", said.append)
        file.write(word)
        file.close()
        file.close()
    assert (tmp_path / "new" / "a.log").read_bytes() == b"one\ntwo\n" and said == []


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "a.log").symlink_to("/dev/full")
    file = AppendFile(tmp_path / "a.log", said.append)
    file.write(b"one")
    file.write(b"two")
    file.close()
    assert said == [
        f"{tmp_path / 'a.log'} cannot be written (No space left on device); the training continues without it"
    ]


def test_a_folder_that_cannot_be_made_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "file").touch()
    file = AppendFile(tmp_path / "file" / "a.log", said.append)
    file.write(b"one")
    file.close()
    assert len(said) == 1 and "file/a.log cannot be written (" in said[0]


def test_a_torn_piece_is_taken_back_and_the_next_one_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    file = AppendFile(tmp_path / "a.log", said.append)
    file.write(b"first\n")
    write, left = os.write, [3]

    def write_three_bytes(descriptor: int, data: bytes) -> int:
        if not left:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: left.pop()])

    monkeypatch.setattr(os, "write", write_three_bytes)
    file.write(b"second\n")
    monkeypatch.undo()
    assert (tmp_path / "a.log").read_bytes() == b"first\n" and len(said) == 1
    file.write(b"third\n")
    file.close()
    assert (tmp_path / "a.log").read_bytes() == b"first\nthird\n" and len(said) == 1
