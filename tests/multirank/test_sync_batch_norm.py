"""BatchNorm over all ranks against the same in numpy, in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "sync_batch_norm_program.py"
EPS = 2e-5
SHAPES = {"map": (8, 5, 30, 30), "flat": (8, 7)}
PARTS = ("y", "mean", "variance", "x gradient", "gamma gradient", "beta gradient")


def case(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return x with means far from 0 and images unlike each other, the gradient of y, gamma, beta."""
    rng = np.random.default_rng(len(shape))
    each = rng.normal(0, 2, (shape[0], *[1] * (len(shape) - 1)))
    arrays = [100 + each + rng.normal(0, 3, shape), rng.normal(0, 1, shape)]
    return [a.astype(np.float32) for a in (*arrays, rng.normal(1, 1, shape[1]), rng.normal(0, 1, shape[1]))]


def reference(arrays: list[np.ndarray]) -> list[np.ndarray]:
    x, dy, gamma, beta = (a.astype(np.float64) for a in arrays)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    wide = (1, -1, *[1] * (x.ndim - 2))
    count = x.size // x.shape[1]
    mean, variance = x.mean(axes), x.var(axes)
    rate = 1 / np.sqrt(variance + EPS)
    normal = (x - mean.reshape(wide)) * rate.reshape(wide)
    dbeta, dgamma = dy.sum(axes), (dy * normal).sum(axes)
    inner = dy - dbeta.reshape(wide) / count - normal * dgamma.reshape(wide) / count
    y = normal * gamma.reshape(wide) + beta.reshape(wide)
    return [y, mean, variance * count / (count - 1), inner * (rate * gamma).reshape(wide), dgamma, dbeta]


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)])
def test_values_and_gradients(ranks: int) -> None:
    cases = {name: case(shape) for name, shape in SHAPES.items()}
    for results in run_ranks(PROGRAM, ranks, list(cases.values())):
        for (name, arrays), actual in zip(cases.items(), results, strict=True):
            for part, given, expected in zip(PARTS, actual, reference(arrays), strict=True):
                np.testing.assert_allclose(
                    given, expected, rtol=1e-4, atol=3e-6 * np.abs(expected).max(), err_msg=f"{name}: {part}"
                )
