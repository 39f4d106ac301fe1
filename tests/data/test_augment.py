from __future__ import annotations

import numpy as np

from data.augment import mirror_flags, random_bits


def test_the_mix_is_splitmix64() -> None:
    # The first value of SplitMix64 from the state 0, as published with the reference code.
    from data.augment import _GOLDEN, _mix

    assert int(_mix(np.array([_GOLDEN]))[0]) == 0xE220A8397B1DCDAF


def test_half_of_the_images_in_every_epoch_and_independent() -> None:
    indices = np.arange(20000)
    first, second, other_seed = (mirror_flags(*key, indices) for key in ((1, 0), (1, 1), (2, 0)))
    for flags in (first, second, other_seed, first ^ second, first ^ other_seed, first[1:] ^ first[:-1]):
        assert abs(flags.mean() - 0.5) < 0.015  # 4 standard deviations


def test_depends_on_each_image_alone() -> None:
    indices = np.random.default_rng(0).permutation(1000)
    flags = mirror_flags(3, 4, np.arange(1000))
    np.testing.assert_array_equal(mirror_flags(3, 4, indices), flags[indices])
    np.testing.assert_array_equal(mirror_flags(3, np.full(1000, 4), indices), flags[indices])


def test_purposes_are_independent() -> None:
    indices = np.arange(20000)
    same = (random_bits(1, 1, 0, indices) ^ random_bits(1, 2, 0, indices)) >> np.uint64(63)
    assert abs(same.mean() - 0.5) < 0.015
