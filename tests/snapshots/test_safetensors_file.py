from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from snapshots.safetensors_file import save_file


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "weight": rng.standard_normal((1300, 1000)).astype(np.float32),  # more than one piece
        "transposed": rng.standard_normal((3, 5)).astype(np.float32).T,
        "half": rng.standard_normal(7).astype(np.float16),
        "labels": np.arange(5),
        "nothing": np.zeros((0, 4), np.float32),
        "number": np.array(2.5, np.float64),
    }
    digest = save_file(arrays, tmp_path / "a")
    assert digest == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()
    found = load_file(tmp_path / "a")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_no_copy_of_a_large_array(tmp_path: Path) -> None:
    array = np.ones((1 << 14, 512), np.float32)
    tracemalloc.start()
    try:
        save_file({"rows": array[: 1 << 13], "others": array[1 << 13 :]}, tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_unknown_types_are_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="complex128"):
        save_file({"a": np.zeros(2, complex)}, tmp_path / "a")
    assert not (tmp_path / "a").exists()
