from __future__ import annotations

import numpy as np
import pytest

from ops.heads.class_shards import ClassShards, initial_class_rows


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 7, 40])
def test_every_class_has_one_place(shards: int) -> None:
    layout = ClassShards(31, shards)
    ranges = [layout.real_rows(shard) for shard in range(shards)]
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(31))
    assert layout.padded == layout.rows * shards >= 31 > layout.padded - max(shards, layout.rows * 2)
    assert all(stop - start <= layout.rows for start, stop in ranges)
    assert all(start == shard * layout.rows for shard, (start, stop) in enumerate(ranges) if stop > start)


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (4090, 4100), (4096, 8192), (8190, 8200), (5, 5)])
def test_initial_rows_depend_on_their_number_alone(start: int, stop: int) -> None:
    whole = initial_class_rows(3, 0, 8200, 4)
    rows = initial_class_rows(3, start, stop, 4)
    assert rows.dtype == np.float32 and rows.shape == (stop - start, 4)
    np.testing.assert_array_equal(rows, whole[start:stop])


def test_initial_rows_are_normal_with_deviation_001() -> None:
    rows = initial_class_rows(3, 0, 5000, 64)
    assert abs(rows.mean()) < 1e-4 and abs(rows.std() - 0.01) < 1e-4
    assert abs((np.abs(rows) < 0.01).mean() - 0.6827) < 0.01
    assert (rows != initial_class_rows(4, 0, 5000, 64)).any()
    assert len(np.unique(rows[:, 0])) > 4900  # chunks differ
