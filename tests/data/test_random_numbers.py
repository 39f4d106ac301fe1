from __future__ import annotations

import numpy as np
import pytest

from data.random_numbers import Purpose, mix, random_bits, random_share, random_signed

INDICES = np.arange(20000)


def test_the_mix_is_splitmix64() -> None:
    # The first value of SplitMix64 from the state 0, as published with the reference code.
    assert int(mix(np.array([0x9E3779B97F4A7C15], np.uint64))[0]) == 0xE220A8397B1DCDAF


def test_purposes_are_independent() -> None:
    same = (random_bits(1, 1, 0, INDICES) ^ random_bits(1, 2, 0, INDICES)) >> np.uint64(63)
    assert abs(same.mean() - 0.5) < 0.015  # 4 standard deviations


@pytest.mark.parametrize(("draw", "low"), [(random_share, 0), (random_signed, -1)])
def test_numbers_are_uniform(draw: object, low: int) -> None:
    numbers = draw(1, Purpose.COLOR, 0, INDICES)
    counts, _ = np.histogram(numbers, bins=20, range=(low, 1))
    assert low <= numbers.min() and numbers.max() < 1
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(1000)


def test_float32_holds_a_share() -> None:
    numbers = random_share(1, Purpose.CROP, 0, INDICES)
    np.testing.assert_array_equal(numbers.astype(np.float32), numbers)
