from __future__ import annotations

import os
from pathlib import Path

import pytest

from data.image_lists.places import FilePlace, load_face
from data.photos.photo import Fault
from data.photos.prepare import PhotoRules


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_without_a_writer_and_a_device_without_an_end_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pipe" if kind == "pipe" else Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(path)
    found = load_face(FilePlace(str(path)), PhotoRules(16))
    assert found == Fault("not readable", "a pipe or a device, not a file")
