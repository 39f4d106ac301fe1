from __future__ import annotations

import numpy as np
import pytest

from ops import flow
from tests.ops.native.references import batch_norm_gradients, per_channel, prelu, prelu_gradients

SHAPES = [(2, 5, 7, 6), (1, 3, 1, 1), (4, 6), (3, 16, 14, 14), (1, 2, 33, 31), (2, 3, 70)]
EPS = 1e-3


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 3e-6) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-3)


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shared", [False, True])
def test_prelu(shape, shared, expect_calls):
    x, dy, slope = draw(shape), draw(shape, 1), draw((1 if shared else shape[1],), 2)
    x.reshape(-1)[0] = 0.0
    a, b = flow.tensor(x, requires_grad=True), flow.tensor(slope, requires_grad=True)
    y = flow._C.prelu(a, b)
    (y * flow.tensor(dy)).sum().backward()
    dx, dslope = prelu_gradients(x, slope, dy)
    assert_close(y.numpy(), prelu(x, slope))
    assert_close(a.grad.numpy(), dx)
    assert_close(b.grad.numpy(), dslope)
    expect_calls(prelu=1, prelu_grad=1)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s != (1, 3, 1, 1)])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_batch_norm_in_training(shape, offset, expect_calls):
    x, dy = draw(shape) + np.float32(offset), draw(shape, 1)
    gamma, beta, moving_mean, moving_var = (draw(shape[1:2], seed) for seed in (2, 3, 4, 5))
    moving_var = np.abs(moving_var)
    means, variances = flow.tensor(moving_mean), flow.tensor(moving_var)
    a, g, b = (flow.tensor(v, requires_grad=True) for v in (x, gamma, beta))
    y = flow._C.normalization(a, means, variances, g, b, axis=1, epsilon=EPS, momentum=0.1, is_training=True)
    (y * flow.tensor(dy)).sum().backward()
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    exact = x.astype(np.float64)
    mean, var, count = exact.mean(axes), exact.var(axes), x.size // shape[1]
    normal = (exact - per_channel(mean, x.ndim)) / np.sqrt(per_channel(var, x.ndim) + EPS)
    # The mean itself is handed on in float32: far from zero that costs digits relative to the deviations.
    tolerance = 3e-6 if offset == 0 else 1e-4
    assert_close(y.numpy(), normal * per_channel(gamma, x.ndim) + per_channel(beta, x.ndim), tolerance)
    assert_close(means.numpy(), 0.9 * moving_mean + 0.1 * mean)
    assert_close(variances.numpy(), 0.9 * moving_var + 0.1 * var * count / (count - 1), 1e-6)
    for actual, expected in zip((a, g, b), batch_norm_gradients(x, gamma, dy, EPS), strict=True):
        assert_close(actual.grad.numpy(), expected, 10 * tolerance)
    expect_calls(normalization=1, normalization_grad=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_in_inference(shape, expect_calls):
    x, gamma, beta, mean, var = draw(shape), *(draw(shape[1:2], seed) for seed in (2, 3, 4, 5))
    var = np.abs(var)
    moving = flow.tensor(mean), flow.tensor(var)
    y = flow._C.normalization(
        flow.tensor(x), *moving, flow.tensor(gamma), flow.tensor(beta), axis=1, epsilon=EPS, momentum=0.9
    )
    scale = per_channel(gamma, x.ndim) / np.sqrt(per_channel(var.astype(np.float64), x.ndim) + EPS)
    assert_close(y.numpy(), (x - per_channel(mean, x.ndim)) * scale + per_channel(beta, x.ndim))
    assert np.array_equal(moving[0].numpy(), mean)
    assert np.array_equal(moving[1].numpy(), var)
    expect_calls(normalization=1)


class Normalization(flow.nn.Module):
    """Batch normalisation with fresh statistics, gamma 1 and beta 0; ``training`` says which form."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("mean", 0.0), ("var", 1.0), ("gamma", 1.0), ("beta", 0.0)):
            self.register_buffer(name, flow.full((channels,), value))

    def forward(self, x: flow.Tensor) -> flow.Tensor:
        options = {"axis": 1, "epsilon": EPS, "momentum": 0.9, "is_training": self.training}
        return flow._C.normalization(x, self.mean, self.var, self.gamma, self.beta, **options)


class FusedSum(flow.nn.Graph):
    """normalization(x) + x, the sum fused into the kernel."""

    def __init__(self, module: Normalization) -> None:
        super().__init__()
        self.module = module
        self.config.allow_fuse_add_to_output(True)

    def build(self, x: flow.Tensor) -> flow.Tensor:
        return self.module(x) + x


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_with_a_fused_sum(training, expect_calls):
    x = draw((2, 5, 7, 6))
    graph = FusedSum(Normalization(5).train(training))
    out = graph(flow.tensor(x)).numpy()
    mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3))) if training else (np.zeros(5), np.ones(5))
    assert_close(out, (x - per_channel(mean, 4)) / np.sqrt(per_channel(var, 4) + EPS) + x)
    expect_calls(normalization=1)
    assert "_add_to_output" in str(graph._full_graph_proto)
