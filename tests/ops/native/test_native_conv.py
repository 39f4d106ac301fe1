from __future__ import annotations

import numpy as np
import pytest

from ops import flow
from tests.ops.native.references import ConvCase, conv, conv_gradients

CASES = {
    "3x3": ConvCase(2, 8, 16, (9, 10)),
    "no channel multiple of eight": ConvCase(2, 5, 7, (6, 11)),
    "image": ConvCase(3, 3, 64, (14, 14)),
    "batch of one": ConvCase(1, 16, 16, (7, 7)),
    "stride": ConvCase(2, 8, 16, (9, 10), stride=(2, 2)),
    "stride of one axis": ConvCase(2, 4, 6, (9, 10), stride=(2, 1), pad=(1, 0)),
    "bias": ConvCase(2, 8, 16, (9, 10), bias=True),
    "bias and stride": ConvCase(2, 3, 9, (8, 8), stride=(2, 2), bias=True),
    "dilation": ConvCase(2, 4, 8, (11, 12), pad=(2, 2), dilation=(2, 2)),
    "uneven dilation": ConvCase(2, 4, 8, (11, 12), pad=(2, 3), dilation=(2, 3), stride=(1, 2)),
    "1x1": ConvCase(3, 16, 32, (7, 7), kernel=(1, 1), pad=(0, 0)),
    "1x1 of many pixels": ConvCase(3, 16, 32, (14, 14), kernel=(1, 1), pad=(0, 0)),
    "1x1 of many pixels, odd": ConvCase(1, 7, 5, (13, 17), kernel=(1, 1), pad=(0, 0), bias=True),
    "1x1 odd": ConvCase(2, 5, 3, (5, 9), kernel=(1, 1), pad=(0, 0), bias=True),
    "1x1 stride with a rest": ConvCase(2, 16, 24, (8, 8), kernel=(1, 1), pad=(0, 0), stride=(2, 2)),
    "1x1 padded": ConvCase(2, 6, 4, (5, 5), kernel=(1, 1), pad=(1, 1)),
    "groups": ConvCase(2, 12, 8, (8, 9), groups=4),
    "groups and bias": ConvCase(2, 8, 12, (8, 9), groups=2, stride=(2, 2), bias=True),
    "1x1 groups": ConvCase(2, 8, 12, (8, 9), kernel=(1, 1), pad=(0, 0), groups=2),
    "depthwise": ConvCase(2, 16, 16, (14, 14), groups=16),
    "depthwise odd": ConvCase(1, 6, 6, (7, 9), groups=6),
    "depthwise narrow": ConvCase(2, 5, 5, (3, 2), groups=5),
    "depthwise single column": ConvCase(2, 5, 5, (4, 1), groups=5, bias=True),
    "depthwise stride": ConvCase(2, 16, 16, (14, 14), groups=16, stride=(2, 2)),
    "depthwise stride odd": ConvCase(2, 7, 7, (15, 13), groups=7, stride=(2, 2), bias=True),
    "depthwise wide": ConvCase(1, 3, 3, (40, 67), groups=3),
    "depthwise wide stride": ConvCase(1, 3, 3, (41, 70), groups=3, stride=(2, 2)),
    "depthwise dilation": ConvCase(2, 6, 6, (9, 9), groups=6, pad=(2, 2), dilation=(2, 2)),
    "depthwise multiplier": ConvCase(2, 6, 12, (9, 9), groups=6),
    "depthwise 5x5": ConvCase(2, 6, 6, (9, 8), kernel=(5, 5), pad=(2, 2), groups=6),
    "depthwise 5x5 stride": ConvCase(2, 6, 6, (9, 8), kernel=(5, 5), pad=(2, 2), groups=6, stride=(2, 2)),
    "depthwise uneven": ConvCase(2, 6, 6, (9, 8), kernel=(3, 1), pad=(1, 0), groups=6, stride=(1, 2)),
    "depthwise global odd": ConvCase(3, 5, 5, (4, 3), kernel=(4, 3), pad=(0, 0), groups=5, bias=True),
    "depthwise global": ConvCase(3, 16, 16, (7, 7), kernel=(7, 7), pad=(0, 0), groups=16),
}
TOLERANCE = 3e-6


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max()


class Network(flow.nn.Module):
    """One convolution whose weights are parameters, so that a graph can train it."""

    def __init__(self, case: ConvCase, w: np.ndarray, b: np.ndarray | None) -> None:
        super().__init__()
        self.case = case
        self.w = flow.nn.Parameter(flow.tensor(w))
        self.b = None if b is None else flow.nn.Parameter(flow.tensor(b))

    def forward(self, x: flow.Tensor) -> flow.Tensor:
        return flow._C.conv2d(x, self.w, self.b, **self.case.arguments())


@pytest.mark.parametrize("name", CASES)
def test_conv_and_gradients_are_those_of_float64(name, expect_calls):
    case = CASES[name]
    x, w, b = case.tensors()
    images = flow.tensor(x, requires_grad=True)
    network = Network(case, w, b)
    out = network(images)
    dy = np.random.default_rng(1).standard_normal(out.shape).astype(np.float32)
    (out * flow.tensor(dy)).sum().backward()
    dx, dw = conv_gradients(case, x, w, dy)
    assert_close(out.numpy(), conv(case, x, w, b))
    assert_close(images.grad.numpy(), dx)
    assert_close(network.w.grad.numpy(), dw)
    expect_calls(conv2d=1, conv_data_grad=1, conv_filter_grad=1)


class Residual(flow.nn.Graph):
    """conv(x) + x with its gradients; the sum is fused into the convolution's kernels where the graph can."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.config.allow_fuse_add_to_output(True)
        self.add_optimizer(flow.optim.SGD([network.w, *([] if network.b is None else [network.b])], lr=1.0))

    def build(self, x: flow.Tensor, dy: flow.Tensor) -> tuple[flow.Tensor, flow.Tensor]:
        x.requires_grad_()
        out = self.network(x) + x
        (out * dy).sum().backward()
        return out, x.grad


@pytest.mark.parametrize("name", ["batch of one", "depthwise", "depthwise odd"])
def test_graph_with_a_fused_sum(name, expect_calls):
    case = CASES[name]
    x, w, b = case.tensors()
    dy = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    network = Network(case, w, b)
    graph = Residual(network)
    out, gradient = graph(flow.tensor(x), flow.tensor(dy))
    dx, dw = conv_gradients(case, x, w, dy)
    assert_close(out.numpy(), conv(case, x, w, b) + x)
    assert_close(gradient.numpy(), dx + dy)
    assert_close(w - network.w.numpy(), dw)
    expect_calls(conv2d=1, conv_data_grad=1, conv_filter_grad=1)
    assert "_add_to_output" in str(graph._full_graph_proto)


def test_other_layouts_and_types_keep_oneflows_kernels(expect_calls):
    case = CASES["3x3"]
    x, w, _ = (None if a is None else flow.tensor(a.astype(np.float64)) for a in case.tensors())
    assert_close(flow._C.conv2d(x, w, None, **case.arguments()).numpy(), conv(case, x.numpy(), w.numpy(), None))
    expect_calls(conv2d=0)


def test_repeated_calls_give_the_same_bits(native):
    for name in ("image", "depthwise", "depthwise global", "1x1", "1x1 of many pixels"):
        case = CASES[name]
        x, w, b = case.tensors()
        results = []
        for _ in range(3):
            network = Network(case, w, b)
            images = flow.tensor(x, requires_grad=True)
            out = network(images)
            (out * out).sum().backward()
            results.append((out.numpy(), images.grad.numpy(), network.w.grad.numpy()))
        for arrays in zip(*results, strict=True):
            assert all(np.array_equal(arrays[0], other) for other in arrays[1:])
