"""Matrix products and rows of unit length against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from ops import flow

SIZES = [(1, 1, 1), (3, 5, 7), (64, 512, 1000), (60, 129, 33), (2, 4096, 3)]


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 3e-6 * max(np.abs(expected).max(), 1e-3)


def draw(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_matmul(size, transpose_a, transpose_b, alpha, expect_calls):
    rows, inner, columns = size
    a, b, dy = draw((rows, inner), 0), draw((inner, columns), 1), draw((rows, columns), 2)
    x = flow.tensor(np.ascontiguousarray(a.T) if transpose_a else a, requires_grad=True)
    w = flow.tensor(np.ascontiguousarray(b.T) if transpose_b else b, requires_grad=True)
    y = flow._C.matmul(x, w, transpose_a=transpose_a, transpose_b=transpose_b, alpha=alpha)
    (y * flow.tensor(dy)).sum().backward()
    a, b, dy = (array.astype(np.float64) for array in (a, b, dy))
    da, db = alpha * dy @ b.T, alpha * a.T @ dy
    assert_close(y.numpy(), alpha * a @ b)
    assert_close(x.grad.numpy(), da.T if transpose_a else da)
    assert_close(w.grad.numpy(), db.T if transpose_b else db)
    expect_calls(matmul=3)


@pytest.mark.parametrize("shape", [(2, 1), (5, 7), (300, 512), (64, 33)])
def test_rows_of_unit_length(shape, expect_calls):
    x, dy, epsilon = draw(shape, 3), draw(shape, 4), 1e-10
    x[0] *= 1e-7  # shorter than epsilon allows for
    rows = flow.tensor(x, requires_grad=True)
    y = flow._C.normalize(rows, p=2.0, dim=1, eps=epsilon)
    (y * flow.tensor(dy)).sum().backward()
    squares = (x.astype(np.float64) ** 2).sum(axis=1, keepdims=True)
    norm = np.sqrt(np.maximum(squares, epsilon))
    expected = x / norm
    along = np.where(squares < epsilon, 0, (expected * dy).sum(axis=1, keepdims=True))
    assert_close(y.numpy(), expected)
    assert_close(rows.grad.numpy()[0] * 1e-5, ((dy - expected * along) / norm)[0] * 1e-5)
    assert_close(rows.grad.numpy()[1:], ((dy - expected * along) / norm)[1:])
    expect_calls(l2_normalize=1, l2_normalize_grad=1)


def test_zero_rows_stay_zero_and_have_a_finite_gradient(native):
    rows = flow.zeros(3, 4, requires_grad=True)
    y = flow._C.normalize(rows, p=2.0, dim=1, eps=1e-10)
    y.sum().backward()
    assert not y.numpy().any()
    assert np.isfinite(rows.grad.numpy()).all()
