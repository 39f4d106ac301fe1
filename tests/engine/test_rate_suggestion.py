from __future__ import annotations

import numpy as np
import pytest

from common.errors import UserError
from engine.rate_suggestion import smooth, suggest_rate, sweep_rates


def losses_at(rates: np.ndarray, turn: float, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """Losses that fall from 10 around a hundredth of ``turn``, are lowest there, and rise to 9 behind it."""
    way = np.log10(rates / turn)
    fall = 6 / (1 + np.exp(4 * (way + 1.0)))
    rise = 5 / (1 + np.exp(-6 * (way - 0.6)))
    return 4 + fall + rise + np.random.default_rng(seed).normal(0, noise, len(rates))


def test_rates_are_geometric() -> None:
    rates = sweep_rates(1e-4, 1.0, 5)
    np.testing.assert_allclose(rates, [1e-4, 1e-3, 1e-2, 1e-1, 1.0])


@pytest.mark.parametrize("turn", [0.003, 0.03, 0.3])
@pytest.mark.parametrize("steps", [60, 200, 600])
def test_the_suggestion_follows_the_rate_where_the_loss_turns(turn: float, steps: int) -> None:
    rates = sweep_rates(1e-5, 10, steps)
    found = suggest_rate(rates, losses_at(rates, turn))
    assert 0.4 < found.turning / turn < 2.5
    assert 0.03 < found.steepest / turn < 0.4  # a tenth, in the curve above
    assert found.rate <= 0.2001 * found.turning * 1.05 and found.rate >= 0.02 * turn
    assert found.rate == float(f"{found.rate:.1e}")


def test_noise_moves_it_little() -> None:
    rates = sweep_rates(1e-5, 10, 200)
    found = [suggest_rate(rates, losses_at(rates, 0.03, 0.3, seed)).rate for seed in range(10)]
    assert max(found) / min(found) < 4


def test_smoothing_is_centred_and_keeps_a_line() -> None:
    line = np.linspace(3, 1, 100)
    np.testing.assert_allclose(smooth(line)[20:80], line[20:80], rtol=1e-9)
    step = np.repeat([1.0, 0.0], 50)
    np.testing.assert_allclose(smooth(step) + smooth(step)[::-1], 1, atol=1e-9)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([40.0] * 10, "stopped being finite after 10 steps.*--lowest"),
        (np.random.default_rng(0).normal(40, 1, 200), "does not fall between the rates 1e-05 and 10; use another"),
        (np.linspace(5, 9, 200), "does not fall"),
    ],
)
def test_nothing_is_suggested_without_a_fall(losses: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        suggest_rate(sweep_rates(1e-5, 10, 200), losses)
