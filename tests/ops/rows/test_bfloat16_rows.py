"""Rows in bfloat16 that are rounded at random: every bit against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.bfloat16 import BFLOAT16, is_finite, widen
from ops import flow
from ops.native.bfloat16_rows import NativeBFloat16Rows, RowDraws
from ops.native.rows import NativeRows
from ops.rows.bfloat16_rows import BFloat16Rows, RowPlace
from ops.rows.storage import RowStorage
from ops.update_rules import AdamWRule, MomentumRule
from tests.support.bfloat16_reference import draw_bits, round_rows, widen_bits

ROWS, WIDTH, SLOTS = 300, 40, 90
PLACE = RowPlace(seed=7, first_row=1000)
RULE = MomentumRule(0.1, 0.9, 0.01)

pytestmark = pytest.mark.skipif(not NativeRows.available(), reason="the CPU kernels are not loaded")


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make_bank(folder: Path | None = None, width: int = WIDTH) -> BFloat16Rows:
    bank = BFloat16Rows((ROWS, width), PLACE, RowStorage(folder))
    bank.weight.write(draw(0, ROWS, width))
    return bank


def bits(array: np.ndarray) -> np.ndarray:
    assert array.dtype == BFLOAT16
    return array["bfloat16"]


def choose(step: int, count: int = 70) -> np.ndarray:
    return np.sort(np.random.default_rng(step).choice(ROWS, count, replace=False))


@pytest.mark.parametrize("width", [1, 7, 40, 512])
def test_values_are_rounded_as_numpy_rounds_them(width: int) -> None:
    values, bank = draw(0, ROWS, width), make_bank(width=width)
    expected = round_rows(values, 1000 + np.arange(ROWS), "weight", 7, 0)
    np.testing.assert_array_equal(bits(bank.weight.stored), expected)
    some = choose(3)
    np.testing.assert_array_equal(bank.weight.read(some), widen_bits(expected[some]))
    bank.weight.write(values[some], some, step=5)
    expected[some] = round_rows(values[some], 1000 + some, "weight", 7, 5)
    np.testing.assert_array_equal(bits(bank.weight.stored), expected)
    np.testing.assert_array_equal(widen(bank.weight.stored), widen_bits(expected))


def test_what_bfloat16_can_hold_stays_and_nan_stays_nan() -> None:
    bank = make_bank()
    kept = bank.weight.read(np.arange(ROWS))
    kept[0, :4] = np.inf, -np.inf, 0, -0.0
    bank.weight.write(kept, slice(None), step=9)
    assert bank.weight.read(np.arange(ROWS)).tobytes() == kept.tobytes()
    assert not is_finite(bank.weight.stored) and is_finite(bank.weight.stored[1:])
    nan = np.full((1, WIDTH), np.array(0x7FFFFFFF, np.uint32).view(np.float32))
    bank.weight.write(nan, np.array([2]))
    assert np.isnan(bank.weight.read(np.array([2]))).all() and not is_finite(bank.weight.stored[2:3])


def test_the_mean_of_many_roundings_is_the_number() -> None:
    """Each rounding is one of the two neighbours; their mean is within 5 standard deviations of the number."""
    count, value = 20_000, np.float32(0.01 * (1 + 1 / 3))
    rows = np.zeros((count, 64), BFLOAT16)
    place = RowDraws(1, 1, 0)
    NativeBFloat16Rows().round(np.full((count, 64), value), rows, np.arange(count), place, "momentum")
    seen = widen(rows).astype(np.float64)
    low, high = np.unique(seen)
    assert low < value < high and high - low == 2.0**-14  # neighbours in bfloat16: 8 bits from 2^-7 on
    share = (value - low) / (high - low)
    deviation = np.sqrt(share * (1 - share) / seen.size) * (high - low)
    assert abs(seen.mean() - value) < 5 * deviation
    up = (seen == high).astype(np.float64) - share
    for axis in (0, 1):  # neither rows nor columns share their draws
        means = up.mean(axis=axis) / np.sqrt(share * (1 - share) / up.shape[axis])
        assert np.abs(means).max() < 5
    for shift in ((1, 0), (0, 1), (1, 1)):
        together = (up * np.roll(up, shift, (0, 1))).mean() / (share * (1 - share))
        assert abs(together) * np.sqrt(up.size) < 5


def test_draws_differ_by_everything_they_depend_on() -> None:
    given = (7, 3, 11, "weight", 4096)
    first = draw_bits(*given)
    for place, other in enumerate((8, 4, 12, "momentum")):
        changed = draw_bits(*given[:place], other, *given[place + 1 :])
        assert 0 <= (changed == first).sum() <= 3 and abs(np.corrcoef(first, changed)[0, 1]) < 0.08


@pytest.mark.parametrize("kind", ["memory", "mapped"])
def test_sgd_is_float32_arithmetic_rounded_at_random(tmp_path: Path, kind: str) -> None:
    bank = make_bank(tmp_path if kind == "mapped" else None)
    weight, momentum = bits(bank.weight.stored).copy(), np.zeros((ROWS, WIDTH), np.uint16)
    lr, factor, decay = np.array([RULE.lr, RULE.momentum, RULE.weight_decay], np.float32)
    for step in range(1, 5):
        some, gradients = choose(step), draw(step, SLOTS, WIDTH)
        bank.select(some, SLOTS)
        bank.update(flow.tensor(gradients), RULE, step)
        before = widen_bits(weight[some])
        moved = widen_bits(momentum[some]) * factor + (before * decay + gradients[: len(some)])
        momentum[some] = round_rows(moved, 1000 + some, "momentum", 7, step)
        weight[some] = round_rows(before - moved * lr, 1000 + some, "weight", 7, step)
        np.testing.assert_array_equal(bits(bank.view_momentum()), momentum)
        np.testing.assert_array_equal(bits(bank.weight.stored), weight)


def test_adamw_is_the_rule_of_float32_rounded_at_random() -> None:
    bank = make_bank()
    stored = {"weight": bank.weight.stored, "momentum": bank.view_momentum(), "variance": bank.view_variance()}
    for step in range(1, 4):
        some, gradients, rule = choose(step, 150), draw(step, 160, WIDTH), AdamWRule(0.1, (0.9, 0.99), 1e-8, 0.01, step)
        expected = {name: bits(array).copy() for name, array in stored.items()}
        moved = [flow.tensor(widen_bits(array[some])) for array in expected.values()]
        rule.apply(moved[0], flow.tensor(gradients[: len(some)]), *moved[1:])
        bank.select(some, 160)
        bank.update(flow.tensor(gradients), rule, step)
        for (name, array), values in zip(expected.items(), moved, strict=True):
            array[some] = round_rows(values.numpy(), 1000 + some, name, 7, step)
            np.testing.assert_array_equal(bits(stored[name]), array, err_msg=name)


def test_small_updates_count() -> None:
    """Each step is a twentieth of the distance between neighbours: rounded to nearest, no row would ever move."""
    bank = BFloat16Rows((1, 4096), PLACE)
    bank.weight.write(np.ones((1, 4096), np.float32))
    for step in range(1, 41):
        bank.select(np.array([0]), 1)
        bank.update(flow.ones(1, 4096) / (20 * 128), MomentumRule(1.0, 0.0, 0.0), step)
    moved = 1 - widen(bank.weight.stored).mean()
    assert moved == pytest.approx(40 / (20 * 128), rel=0.05)


def test_two_bytes_a_number(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        bank = make_bank(folder)
        arrays = (bank.weight.stored, bank.view_momentum(), bank.view_variance())
        assert [array.nbytes for array in arrays] == [2 * ROWS * WIDTH] * 3


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_shards_round_as_the_whole_does(shards: int) -> None:
    """The same rows and gradients give the same bits however the rows are divided, whatever else a step selects."""
    whole, some, gradients = make_bank(), choose(1), draw(1, SLOTS, WIDTH)
    whole.select(some, SLOTS)
    whole.update(flow.tensor(gradients), RULE, 3)
    size = -(-ROWS // shards)
    for first in range(0, ROWS, size):
        part = BFloat16Rows((size, WIDTH), RowPlace(7, 1000 + first))
        part.weight.write(draw(0, ROWS, WIDTH)[first : first + size])
        own = (some >= first) & (some < first + size)
        part.select(some[own] - first, SLOTS)
        padded = np.zeros((SLOTS, WIDTH), np.float32)
        padded[: own.sum()] = gradients[: len(some)][own]
        part.update(flow.tensor(padded), RULE, 3)
        own = slice(first, first + size)
        np.testing.assert_array_equal(bits(part.weight.stored), bits(whole.weight.stored)[own])
        np.testing.assert_array_equal(bits(part.view_momentum()), bits(whole.view_momentum())[own])


def test_wrong_arrays_stop_before_the_kernels() -> None:
    native, rows, draws = NativeBFloat16Rows(), np.zeros((3, 2), BFLOAT16), RowDraws(0, 0, 0)
    values = np.zeros((1, 2), np.float32)
    for wrong in ([-1], [3]):
        with pytest.raises(IndexError, match=r"outside of 0\.\.2"):
            native.round(values, rows, np.array(wrong), draws, "weight")
    with pytest.raises(ValueError, match="contiguous bfloat16 of one width, not float32"):
        native.widen(np.zeros((3, 2), np.float32), np.array([1]), values)
    with pytest.raises(ValueError, match="one width"):
        native.widen(rows, np.array([1]), np.zeros((1, 3), np.float32))
