from __future__ import annotations

from math import prod

import mxnet as mx
import numpy as np
import pytest

from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.networks.iresnet import build_residual_network
from backbones.networks.options import NetworkOptions
from ops import flow
from tests.backbones import mxnet_networks

Y1 = {"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"}
WIDTHS = [64, 64, 128, 256, 512]
TINY_UNITS, TINY_WIDTHS = [2, 1], [8, 8, 16]


def fresnet_case(depth: int, units: list[int]):
    config = {"net_name": "fresnet", "num_layers": depth}
    return config, lambda: mxnet_networks.fresnet(units, WIDTHS, "E", 512)


INFERENCE = {
    "y1": (Y1, lambda: mxnet_networks.mobilefacenet([1, 4, 6, 2], "GDC", 128)),
    "y1-residual-start": (
        Y1 | {"net_blocks": [2, 1, 1, 1]},
        lambda: mxnet_networks.mobilefacenet([2, 1, 1, 1], "GDC", 128),
    ),
    "r18": fresnet_case(18, [2, 2, 2, 2]),
    "r50": fresnet_case(50, [3, 4, 14, 3]),
    "r100": fresnet_case(100, [3, 13, 30, 3]),
}
SLOW = {"r50", "r100"}


def random_images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 3, size, size)).astype(np.float32)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case in SLOW else []) for case in INFERENCE]
)
def test_inference_equals_mxnet(case, random_arrays):
    config, make_symbol = INFERENCE[case]
    graph = build_network(config)
    arrays, images = random_arrays(graph, 1), random_images(2, 112)
    expected = mxnet_networks.bind(make_symbol(), arrays, images).forward(is_train=False)[0].asnumpy()
    assert np.linalg.norm(expected[0] - expected[1]) > 0.01 * np.linalg.norm(expected[0])  # the images matter

    actual = Backbone(graph, arrays).eval()(flow.tensor(images)).numpy()

    assert relative_error(actual, expected) < 1e-4


@pytest.fixture
def tiny():
    """A two-stage fresnet on 16x16 images without dropout, with its symbol."""
    options = NetworkOptions("fresnet", emb_size=8, net_output="FC", image_size=16)
    graph = build_residual_network(TINY_UNITS, TINY_WIDTHS, options)
    return graph, mxnet_networks.fresnet(TINY_UNITS, TINY_WIDTHS, "FC", 8)


def test_training_forward_and_backward_equal_mxnet(tiny, random_arrays):
    graph, symbol = tiny
    arrays, images = random_arrays(graph, 2), random_images(6, 16)
    output_gradient = np.random.default_rng(3).normal(size=(6, 8)).astype(np.float32)
    executor = mxnet_networks.bind(symbol, arrays, images)
    expected = executor.forward(is_train=True)[0].asnumpy()
    executor.backward(mx.nd.array(output_gradient))

    backbone = Backbone(graph, arrays).train()
    actual = backbone(flow.tensor(images))
    (actual * flow.tensor(output_gradient)).sum().backward()

    assert relative_error(actual.numpy(), expected) < 1e-4
    for name, spec in graph.parameters().items():
        if spec.trainable:
            # Gradients of constants that a later BatchNorm removes (pre_fc1_bias, bn3_beta) are rounding alone.
            gradient = executor.grad_dict[name].asnumpy()
            tolerance = 1e-4 * np.abs(gradient).max() + 1e-5
            np.testing.assert_allclose(
                backbone.named_tensors()[name].grad.numpy(), gradient, rtol=0, atol=tolerance, err_msg=name
            )


def test_moving_statistics_of_a_training_step(tiny, random_arrays):
    """The means are MXNet's; the variance entering the average is OneFlow's unbiased one, n / (n - 1) of MXNet's."""
    graph, symbol = tiny
    arrays, images = random_arrays(graph, 2), random_images(6, 16)
    executor = mxnet_networks.bind(symbol, arrays, images)
    executor.forward(is_train=True)
    executor.backward(mx.nd.ones((6, 8)))  # MXNet updates its averages here
    mx.nd.waitall()
    backbone = Backbone(graph, arrays).train()
    backbone(flow.tensor(images))
    ours = backbone.named_arrays()
    for node in graph.nodes:
        if node.op == "batch_norm":
            mean, variance = f"{node.name}_moving_mean", f"{node.name}_moving_var"
            np.testing.assert_allclose(ours[mean], executor.aux_dict[mean].asnumpy(), rtol=0, atol=1e-5)
            count = len(images) * prod(graph.shapes[node.name][1:])
            new_part = executor.aux_dict[variance].asnumpy() - 0.9 * arrays[variance]
            expected = 0.9 * arrays[variance] + new_part * count / (count - 1)
            np.testing.assert_allclose(ours[variance], expected, rtol=1e-4, atol=1e-5)


def test_training_forward_of_y1_equals_mxnet(random_arrays):
    graph = build_network(Y1)
    arrays, images = random_arrays(graph, 4), random_images(4, 112)
    symbol = mxnet_networks.mobilefacenet([1, 4, 6, 2], "GDC", 128)
    expected = mxnet_networks.bind(symbol, arrays, images).forward(is_train=True)[0].asnumpy()
    actual = Backbone(graph, arrays).train()(flow.tensor(images)).numpy()
    assert relative_error(actual, expected) < 1e-3
