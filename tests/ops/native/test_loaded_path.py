from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from ops.native import loader


def test_mapped_files_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.fsencode(tmp_path) + b"/\xc0\xee\xc2\x85.rec"
    with open(path, "wb+") as file:
        file.write(b"data")
        file.flush()
        with mmap.mmap(file.fileno(), 0):
            monkeypatch.setattr(loader, "LIBRARY_NAME", os.fsdecode(os.path.basename(path)))
            assert loader.loaded_library_path() == os.fsdecode(path)
