"""Rows of mapped files that the next step needs are read while the present one computes."""

from __future__ import annotations

import ctypes
import mmap
import time
from pathlib import Path

import numpy as np
import pytest

from launch.world import join_world
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from ops.heads.partial_fc import PartialFCHead
from ops.native.rows import NativeRows
from ops.rows.storage import RowStorage

BATCH, CLASSES, PAGE = 16, 3000, mmap.PAGESIZE
LABELS = np.random.default_rng(0).integers(0, CLASSES, BATCH).astype(np.int32)

pytestmark = pytest.mark.skipif(not NativeRows.available(), reason="the CPU kernels are not loaded")


def resident(array: np.ndarray) -> np.ndarray:
    """Return whether each page of an array is in memory."""
    pages = np.zeros(-(-array.nbytes // PAGE), np.uint8)
    address, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
    assert ctypes.CDLL(None).mincore(address, size, ctypes.c_void_p(pages.ctypes.data)) == 0
    return pages & 1 == 1


def evict(array: np.ndarray) -> None:
    """Write an array's pages to its file and have the system drop them; needs Linux 5.4."""
    address, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
    assert ctypes.CDLL(None).msync(address, size, 4) == 0  # MS_SYNC
    ctypes.CDLL(None).madvise(address, size, 21)  # MADV_PAGEOUT


def test_pages_of_rows_are_read(tmp_path: Path) -> None:
    rows = RowStorage(tmp_path).zeros((400, 1000))  # a row lies on one page or two
    rows[:] = np.arange(400)[:, None]
    evict(rows)
    if resident(rows).any():
        pytest.skip("this file system keeps files in memory")
    indices = np.array([0, 1, 7, 150, 399])
    NativeRows().read_ahead(rows, indices)
    wanted = np.zeros(len(resident(rows)), bool)
    for row in indices:
        wanted[row * 4000 // PAGE : (row * 4000 + 3999) // PAGE + 1] = True
    seen, end = resident(rows), time.monotonic() + 60
    while not seen[wanted].all() and time.monotonic() < end:
        time.sleep(0.01)
        seen |= resident(rows)  # the system may take a page away again
    assert seen[wanted].all() and seen.sum() < 4 * wanted.sum()
    assert (rows == np.arange(400)[:, None]).all()


def test_rows_are_checked(tmp_path: Path) -> None:
    rows = RowStorage(tmp_path).zeros((10, 3))
    NativeRows().read_ahead(rows, np.zeros(0, np.int64))
    for wrong in ([-1], [3, 10]):
        with pytest.raises(IndexError, match=r"0\.\.9"):
            NativeRows().read_ahead(rows, np.array(wrong))
    with pytest.raises(ValueError, match="int64, not int32"):
        NativeRows().read_ahead(rows, np.array([1], np.int32))


@pytest.mark.parametrize("row_dtype", ["float32", "bf16"])
@pytest.mark.parametrize(("ratio", "centres"), [(0.01, 1), (0.1, 2), (0.7, 1)])
def test_they_are_the_rows_of_the_next_step(tmp_path: Path, monkeypatch, row_dtype, ratio, centres) -> None:
    options = HeadOptions(
        CLASSES,
        8,
        train_batch_size=BATCH,
        num_subcenters=centres,
        partial_fc=True,
        sample_ratio=ratio,
        fc7_dtype=row_dtype,
    )
    asked: list[np.ndarray] = []
    monkeypatch.setattr(NativeRows, "read_ahead", lambda _, rows, indices: asked.append(indices))
    world = join_world("cpu")
    head = build_head(options, world, RowStorage(tmp_path))
    assert isinstance(head, PartialFCHead)
    head.prepare(LABELS, 3, world)
    head._reading.result()
    assert len(asked) == 2  # of rows and momentum
    sampled = head._rows_of(head.sampling.draw(0, LABELS, 4))
    for rows in asked:
        assert len(rows) == len(sampled)
        assert len(np.setdiff1d(sampled, rows)) <= BATCH * centres
    in_memory = build_head(options, world)
    in_memory.prepare(LABELS, 3, world)
    assert in_memory._reading is None and len(asked) == 2
