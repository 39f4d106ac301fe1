from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from ops import flow
from ops.rows.storage import RowStorage


@pytest.mark.parametrize("kind", ["memory", "mmap"])
def test_arrays_are_zeros_that_oneflow_shares(tmp_path: Path, kind: str) -> None:
    storage = RowStorage(None if kind == "memory" else tmp_path / "new" / "folder")
    array = storage.zeros((1000, 33))
    assert array.dtype == np.float32 and array.shape == (1000, 33) and not array.any()
    tensor = flow.from_numpy(array)
    tensor[7] = 3.0
    assert np.shares_memory(tensor.numpy(), array)  # reading waits for what is still to be written
    assert (array[7] == 3).all() and array.sum() == 99
    assert storage.zeros((0, 4)).shape == (0, 4)
    assert not storage.zeros((1000, 33)).any()


def test_memory_is_taken_at_once() -> None:
    array = RowStorage().zeros((5_000_001,))  # 19 MB and a part of a page
    address, kilobytes = array.ctypes.data, {}
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            start, stop = (int(word, 16) for word in words[0].split("-"))
        elif start <= address < stop and words[-1] == "kB":
            kilobytes[words[0]] = int(words[1])
    assert 1024 * (kilobytes["Rss:"] + kilobytes["Swap:"]) >= array.nbytes


def test_files_have_no_name_but_take_their_room(tmp_path: Path) -> None:
    array = RowStorage(tmp_path).zeros((1 << 20,))
    assert list(tmp_path.iterdir()) == []
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    assert len(maps) == 1 and "rw-s" in maps[0] and maps[0].endswith("(deleted)")
    array[:] = 1
    del array
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, size in ((tmp_path / "file", 10), (tmp_path, 1 << 50)):
        with pytest.raises(UserError, match="cannot hold a file of .* [MG]B for class rows .*--fc7_storage_dir"):
            RowStorage(folder).zeros((size,))
