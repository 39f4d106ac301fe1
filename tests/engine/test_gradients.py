from __future__ import annotations

import numpy as np
import pytest

from engine.gradients import LossScale, add_gradients, gradient_norm, multiply_gradients
from launch.world import join_world
from ops import flow
from ops.runtime.tensors import local_view

SHAPES = [(3, 5), (7,), (1 << 11, 1100)]  # the last is more than a block


def draw(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(3, 1, shape).astype(np.float32) for shape in SHAPES]


def to_tensors(arrays: list[np.ndarray]) -> list[flow.Tensor]:
    world = join_world("cpu")
    sbps = [flow.sbp.broadcast, flow.sbp.broadcast, flow.sbp.split(0)]
    return [flow.tensor(a).to_global(world.placement, sbp) for a, sbp in zip(arrays, sbps, strict=True)]


def test_norm_sum_and_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = draw(1), draw(2)
    total = add_gradients(add_gradients(None, to_tensors(first)), to_tensors(second))
    sums = [a + b for a, b in zip(first, second, strict=True)]
    for tensor, expected in zip(total, sums, strict=True):
        np.testing.assert_array_equal(local_view(tensor).numpy(), expected)
    norm = np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in sums))
    world = join_world("cpu")
    assert gradient_norm(total, world) == pytest.approx(norm, rel=1e-12)
    monkeypatch.setattr("engine.gradients.kernels_are_loaded", lambda: False)  # OneFlow's own operations
    assert gradient_norm(total, world) == pytest.approx(norm, rel=1e-12)
    multiply_gradients(total, 0.25)
    for tensor, expected in zip(total, sums, strict=True):
        np.testing.assert_array_equal(local_view(tensor).numpy(), expected * 0.25)


def test_a_norm_that_is_no_number_shows() -> None:
    arrays = draw(1)
    arrays[1][2] = np.inf
    assert gradient_norm(to_tensors(arrays), join_world("cpu")) == np.inf


def test_a_scale_without_a_window_stays() -> None:
    scale = LossScale(8.0)
    assert [scale.advance(overflow=False) for _ in range(5)] == [True] * 5
    assert scale.value == 8 and not scale.advance(overflow=True)
    scale.load_state({"value": 2.0, "good_steps": 1})
    assert scale.value == 8


def test_a_scale_with_a_window_moves() -> None:
    scale = LossScale(4.0, window=2)
    seen = []
    for overflow in (False, True, False, False, False, False, True, True, True):
        assert scale.advance(overflow)
        seen.append(scale.value)
    assert seen == [4, 2, 2, 4, 4, 8, 4, 2, 1]
    assert not scale.advance(overflow=True) and scale.value == 1  # no smaller scale can help
    scale.advance(overflow=False)
    other = LossScale(4.0, window=2)
    other.load_state(scale.read_state())
    for each in (scale, other):
        each.advance(overflow=False)
    assert scale.read_state() == other.read_state() == {"value": 2.0, "good_steps": 0}
