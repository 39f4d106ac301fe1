from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ops import flow
from ops.native.rows import NativeRows
from ops.rows.bank import RowBank
from ops.rows.device_bank import DeviceRows
from ops.rows.host_bank import HostRows, ReferencedHostRows
from ops.rows.make_bank import make_row_bank
from ops.rows.storage import RowStorage
from ops.update_rules import AdamWRule, MomentumRule
from tests.support.update_reference import update_adamw

RULE = MomentumRule(0.1, 0.9, 0.01)
ROWS, SLOTS = 1000, 400


def hand_over(bank: RowBank, gradients: np.ndarray) -> flow.Tensor:
    """Return ``gradients`` as the bank has them after a graph call."""
    found = bank.row_gradients(flow.tensor(gradients))
    if isinstance(bank, ReferencedHostRows):
        found.numpy()[:] = gradients
    return found


@pytest.fixture(params=["in_place", "mapped", "kernels", "numpy", "device"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[flow.Tensor], RowBank]:
    """All kinds; that of other devices runs on the CPU as well."""
    if request.param == "device":
        return DeviceRows
    if request.param == "numpy":
        return lambda tensor: HostRows(tensor, None, RowStorage())
    if not NativeRows.available():
        pytest.skip("the CPU kernels are not loaded")
    storage = RowStorage(tmp_path if request.param == "mapped" else None)
    if request.param == "kernels":
        return lambda tensor: HostRows(tensor, NativeRows(), storage)
    # What graphs compute with; a bias has no such kind.
    return lambda tensor: (ReferencedHostRows if tensor.ndim == 2 else HostRows)(tensor, NativeRows(), storage)


def draw(step: int, shape: tuple[int, ...], count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers and gradients for all slots."""
    rng = np.random.default_rng(step)
    indices = np.sort(rng.choice(ROWS, count, replace=False))
    return indices, rng.normal(size=(SLOTS, *shape)).astype(np.float32)


def start(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(99).normal(size=(ROWS, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape", [(8,), (), (600,)], ids=["weight", "bias", "wide"])
def test_sampled_rows_follow_the_rule_and_others_stay(make: Callable, shape: tuple[int, ...]) -> None:
    tensor = flow.tensor(start(shape))
    bank = make(tensor)
    weights, buffers = start(shape).astype(np.float64), np.zeros((ROWS, *shape))
    for step in range(6):
        indices, gradients = draw(step, shape)
        before, momentum = tensor.numpy().copy(), bank.view_momentum().copy()
        selected = bank.select(indices, SLOTS)
        if not isinstance(bank, ReferencedHostRows):
            assert tuple(selected.shape) == (SLOTS, *shape)
            np.testing.assert_array_equal(selected.numpy()[: len(indices)], before[indices])
            assert np.isfinite(selected.numpy()).all()
        bank.update(hand_over(bank, gradients), RULE)
        buffers[indices] = 0.9 * buffers[indices] + gradients[: len(indices)] + 0.01 * weights[indices]
        weights[indices] -= 0.1 * buffers[indices]
        others = np.setdiff1d(np.arange(ROWS), indices)
        np.testing.assert_array_equal(tensor.numpy()[others], before[others])
        np.testing.assert_array_equal(bank.view_momentum()[others], momentum[others])
    np.testing.assert_allclose(tensor.numpy(), weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bank.view_momentum(), buffers, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(8,), (), (600,)], ids=["weight", "bias", "wide"])
def test_adamw_of_sampled_rows(make: Callable, shape: tuple[int, ...]) -> None:
    tensor = flow.tensor(start(shape))
    bank = make(tensor)
    weights = start(shape).astype(np.float64)
    means, variances = np.zeros((2, ROWS, *shape))
    for step in range(6):
        indices, gradients = draw(step, shape)
        before = [tensor.numpy().copy(), bank.view_momentum().copy(), bank.view_variance().copy()]
        bank.select(indices, SLOTS)
        bank.update(hand_over(bank, gradients), AdamWRule(0.1, (0.9, 0.99), 1e-8, 0.01, step + 1))
        rows = weights[indices], means[indices], variances[indices]
        weights[indices], means[indices], variances[indices] = update_adamw(
            *rows, gradients[: len(indices)], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01, step=step + 1
        )
        others = np.setdiff1d(np.arange(ROWS), indices)
        for array, kept in zip(
            (tensor.numpy(), bank.view_momentum().copy(), bank.view_variance().copy()), before, strict=True
        ):
            np.testing.assert_array_equal(array[others], kept[others])
    for array, expected in (
        (tensor.numpy(), weights),
        (bank.view_momentum(), means),
        (bank.view_variance(), variances),
    ):
        np.testing.assert_allclose(array, expected, rtol=2e-5, atol=2e-6)
    bank.load_variance(np.ones((ROWS, *shape), np.float32))
    assert (bank.view_variance() == 1).all() and (bank.view_momentum() != 1).any()


def test_all_rows_give_what_oneflow_s_sgd_gives(make: Callable) -> None:
    tensor, twin = flow.tensor(start((8,))), flow.tensor(start((8,)), requires_grad=True)
    bank = make(tensor)
    sgd = flow.optim.SGD([{"params": [twin], "weight_decay": 0.01}], lr=0.1, momentum=0.9)
    for step in range(4):
        gradients = np.random.default_rng(step).normal(size=(ROWS, 8)).astype(np.float32)
        bank.select(np.arange(ROWS), ROWS)
        bank.update(hand_over(bank, gradients), RULE)
        twin.grad = flow.tensor(gradients)
        sgd.step()
    np.testing.assert_array_equal(tensor.numpy(), twin.detach().numpy())


def test_no_rows_change_nothing(make: Callable) -> None:
    tensor = flow.tensor(start((8,)))
    bank = make(tensor)
    assert np.isfinite(bank.select(np.zeros(0, np.int64), SLOTS).numpy()).all()
    bank.update(flow.ones(SLOTS, 8), RULE)
    np.testing.assert_array_equal(tensor.numpy(), start((8,)))
    assert (bank.view_momentum() == 0).all()


def test_momentum_travels(make: Callable) -> None:
    first, second = (flow.tensor(start((8,))) for _ in range(2))
    bank, other = make(first), make(second)
    indices, gradients = draw(0, (8,))
    bank.select(indices, SLOTS)
    bank.update(flow.tensor(gradients), RULE)
    second.copy_(first)
    other.load_momentum(bank.view_momentum())
    indices, gradients = draw(1, (8,))
    for each in (bank, other):
        each.select(indices, SLOTS)
        each.update(flow.tensor(gradients), RULE)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    np.testing.assert_array_equal(bank.view_momentum(), other.view_momentum())
    assert bank.view_momentum().any()


def test_the_cpu_gets_its_own_kind() -> None:
    assert isinstance(make_row_bank(flow.zeros(3, 2)), HostRows)
    assert isinstance(make_row_bank(flow.zeros(3, 2)), ReferencedHostRows) == NativeRows.available()


@pytest.mark.skipif(not NativeRows.available(), reason="the CPU kernels are not loaded")
def test_row_numbers_that_are_none_stop_before_the_kernels() -> None:
    rows = np.zeros((3, 2), np.float32)
    for wrong in ([-1], [3]):
        with pytest.raises(IndexError, match=r"outside of 0\.\.2"):
            NativeRows().select(rows, np.array(wrong), np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="int64"):
        NativeRows().select(rows, np.array([1], np.int32), np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="one width"):
        NativeRows().select(rows, np.array([1]), np.zeros((1, 3), np.float32))
