from __future__ import annotations

import numpy as np
import pytest

from data.loading.sampler import SampleStream


def test_every_image_exactly_once_an_epoch() -> None:
    stream = SampleStream(10, seed=3)
    indices, epochs = stream.take(0, 40)
    for epoch in range(4):
        np.testing.assert_array_equal(np.sort(indices[epochs == epoch]), np.arange(10))
    assert len({tuple(indices[epochs == epoch]) for epoch in range(4)}) == 4


@pytest.mark.parametrize("size", [1, 3, 7, 10, 25])
def test_runs_of_any_length_make_up_the_same_stream(size: int) -> None:
    whole = SampleStream(10, seed=3).take(0, 100)
    stream = SampleStream(10, seed=3)
    pieces = [stream.take(start, min(start + size, 100)) for start in range(0, 100, size)]
    for i in range(2):
        np.testing.assert_array_equal(np.concatenate([piece[i] for piece in pieces]), whole[i])


def test_starting_in_the_middle_and_going_back() -> None:
    whole, _ = SampleStream(10, seed=3).take(0, 100)
    stream = SampleStream(10, seed=3)
    np.testing.assert_array_equal(stream.take(57, 83)[0], whole[57:83])
    np.testing.assert_array_equal(stream.take(5, 25)[0], whole[5:25])


def test_seeds_give_other_orders() -> None:
    assert not np.array_equal(SampleStream(100, 1).order(0), SampleStream(100, 2).order(0))
