"""Products with rows that stay where they are, and the steps of the softmax over ranks, against numpy in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ops import flow
from ops.native.rows import NativeRows
from ops.rows.host_bank import ReferencedHostRows
from ops.rows.storage import RowStorage
from ops.runtime.graph import Graph

EPSILON = 1e-10


def draw(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * max(np.abs(expected).max(initial=0), 1e-3))


def choose(rows: int, count: int, kind: str) -> np.ndarray:
    if kind == "first":
        return np.arange(count)
    return np.sort(np.random.default_rng(rows).choice(np.arange(1, rows), count, replace=False))


@pytest.mark.parametrize("epsilon", [0.0, EPSILON], ids=["as_they_are", "unit_length"])
@pytest.mark.parametrize("kind", ["first", "scattered"])
@pytest.mark.parametrize(
    ("rows", "count", "slots", "batch", "width"),
    [(5, 1, 1, 1, 1), (40, 20, 33, 3, 7), (700, 300, 300, 6, 40), (900, 513, 700, 64, 128), (9, 0, 4, 2, 8)],
)
def test_products_and_gradients(rows, count, slots, batch, width, kind, epsilon, expect_calls):
    matrix, vectors, dy = draw((rows, width), 0), draw((batch, width), 1), draw((batch, slots), 2)
    matrix[:2] *= 1e-7  # shorter than epsilon allows for
    indices = choose(rows, count, kind)
    bank = ReferencedHostRows(flow.from_numpy(matrix), NativeRows(), RowStorage())
    x = flow.tensor(vectors, requires_grad=True)
    reference = bank.select(indices, slots)
    y = bank.open(reference, slots).multiply(x, epsilon)
    (y * flow.tensor(dy)).sum().backward()
    gradients = bank.row_gradients(reference.grad).numpy()
    reference.grad = None

    chosen, vectors, dy = (array.astype(np.float64) for array in (matrix[indices], vectors, dy[:, :count]))
    squares = (chosen**2).sum(axis=1, keepdims=True)
    norm = np.sqrt(np.maximum(squares, EPSILON)) if epsilon else np.ones((count, 1))
    unit, unit_gradient = chosen / norm, dy.T @ vectors
    along = np.where((squares < EPSILON) | (epsilon == 0), 0, (unit * unit_gradient).sum(axis=1, keepdims=True))
    expected = np.zeros((batch, slots))
    expected[:, :count] = vectors @ unit.T
    assert_close(y.numpy(), expected)
    assert_close(x.grad.numpy(), dy @ unit)
    # What goes along a row cancels, so the error is of the size of what was there before.
    largest = np.abs(unit_gradient).max(initial=0)
    np.testing.assert_allclose(gradients[:count] * norm, unit_gradient - unit * along, rtol=0, atol=3e-6 * largest)
    expect_calls(insightface_row_products=1, insightface_row_products_grad=1)


def test_the_same_bits_every_time(native):
    matrix, vectors, dy = draw((3000, 64), 0), draw((16, 64), 1), draw((16, 1000), 2)
    seen = set()
    for _ in range(3):
        bank = ReferencedHostRows(flow.tensor(matrix), NativeRows(), RowStorage())
        x = flow.tensor(vectors, requires_grad=True)
        reference = bank.select(choose(3000, 1000, "scattered"), 1000)
        y = bank.open(reference, 1000).multiply(x, EPSILON)
        (y * flow.tensor(dy)).sum().backward()
        arrays = (y.detach(), x.grad, bank.row_gradients(reference.grad))
        seen.add(b"".join(array.numpy().tobytes() for array in arrays))
    assert len(seen) == 1


def run_as_graph(compute: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """Eager calls of an op keep the kernel that an earlier one of another shape found; a graph's ops find their own."""
    graph = Graph()
    graph.build = compute
    return graph(*map(flow.tensor, arrays))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 1000)])
def test_matrix_and_column(shape, expect_calls):
    x, y = draw(shape, 0), draw((shape[0], 1), 1) + 3
    difference, quotient = run_as_graph(lambda x, y: (x - y, x / y), x, y)
    np.testing.assert_array_equal(difference.numpy(), x - y)
    np.testing.assert_array_equal(quotient.numpy(), x / y)
    if shape[1] > 1:  # of one shape they are other ops
        expect_calls(broadcast_sub=1, broadcast_div=1)


def test_other_shapes_are_left_to_oneflow(expect_calls):
    x, row = draw((3, 4), 0), draw((1, 4), 1)
    np.testing.assert_array_equal(run_as_graph(lambda x, row: x - row, x, row).numpy(), x - row)
    expect_calls(broadcast_sub=0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 1000)])
def test_largest_of_each_row(shape, expect_calls):
    x = np.round(draw(shape, 0) * 3)  # some are there more than once
    largest, mask, count = run_as_graph(lambda x: tuple(flow._C.reduce_max_device_stage(x, axis=[1])), x)
    expected = x.max(axis=1, keepdims=True)
    np.testing.assert_array_equal(largest.numpy(), expected)
    np.testing.assert_array_equal(mask.numpy(), x == expected)
    np.testing.assert_array_equal(count.numpy(), (x == expected).sum(axis=1, keepdims=True))
    expect_calls(reduce_max_device_stage=1)
