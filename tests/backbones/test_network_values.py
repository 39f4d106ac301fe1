"""Every family against the MXNet network: names and shapes in full size, values and gradients of small instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
import pytest

from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.graph.network_graph import NetworkGraph
from backbones.networks import densenet, vargfacenet
from backbones.networks.iresnet import build_residual_network
from backbones.networks.options import NetworkOptions
from backbones.networks.output_layers import OUTPUT_LAYERS
from ops import flow
from tests.backbones import mxnet_light_networks as light
from tests.backbones import mxnet_networks

STEP = 0.04  # by which the loss changes


class Case(NamedTuple):
    """Our network beside MXNet's, and the batch that is put through both."""

    graph: NetworkGraph
    symbol: mx.sym.Symbol
    batch: int = 6


def residual(output: str = "J", size: int = 8, unit: int = 3, se: int = 0, net_input: int = 1) -> Case:
    options = NetworkOptions(
        "fresnet", emb_size=size, net_output=output, net_unit=unit, net_se=se, net_input=net_input, image_size=28
    )
    widths = [16, 16, 32]
    if output == "GDC":
        widths = [16, 16, 512]
    graph = build_residual_network([2, 1], widths, options)
    return Case(graph, mxnet_networks.fresnet([2, 1], widths, output, size, unit, bool(se), net_input))


def small(name: str, **options: Any) -> NetworkGraph:
    return build_network({"net_name": name, "emb_size": 8, "net_output": "J", "image_size": 32} | options)


def small_densenet(patch: pytest.MonkeyPatch) -> Case:
    patch.setitem(densenet.SPECIFICATIONS, 5, (16, 16, (2, 1, 2)))
    return Case(small("fdensenet", num_layers=5), light.densenet(16, 16, [2, 1, 2], "J", 8))


def small_vargfacenet(patch: pytest.MonkeyPatch) -> Case:
    patch.setattr(vargfacenet, "UNITS_PER_STAGE", (2, 1, 1))
    graph = small("vargfacenet", net_multiplier=0.25, net_se=1, image_size=112)
    return Case(graph, light.vargfacenet(0.25, True, 8, (2, 1, 1)))


UNITS = {
    f"unit {unit}{' se' * se} input {net_input}": lambda patch, u=unit, s=se, i=net_input: residual(
        unit=u, se=s, net_input=i
    )
    for unit, se, net_input in [(1, 0, 0), (1, 1, 1), (2, 1, 1), (2, 0, 2), (3, 1, 2), (3, 0, 0), (4, 0, 1), (4, 1, 1)]
}
OUTPUTS = {
    f"output {kind}": lambda patch, k=kind: residual(k, size=32 * 7 * 7 if k == "Z" else 8)
    for kind in OUTPUT_LAYERS
    if kind not in ("E", "F", "Z")  # dropout is MXNet's own draw
} | {
    "output GNAP, wider": lambda patch: residual("GNAP", size=40),
    "output GNAP, as wide": lambda patch: residual("GNAP", size=32),
}
FAMILIES: dict[str, Callable[[pytest.MonkeyPatch], Case]] = {
    "mobilenet": lambda patch: Case(small("fmobilenet", net_multiplier=0.25), light.mobilenet(0.25, 1, "J", 8)),
    "mnasnet": lambda patch: Case(small("fmnasnet", net_multiplier=0.25), light.mnasnet(0.25, "J", 8)),
    "densenet": small_densenet,
    "vargfacenet": small_vargfacenet,
}
CASES = UNITS | OUTPUTS | FAMILIES


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def random_images(case: Case) -> np.ndarray:
    shape = (case.batch, *case.graph.shapes["data"])
    return np.random.default_rng(5).integers(0, 256, shape).astype(np.float32)


def slope_derivative(
    executor: mx.executor.Executor, slopes: dict[str, np.ndarray], gradient: np.ndarray, step: float
) -> float:
    """How the loss changes along ``slopes``, by MXNet's forward pass.

    Not by its backward pass: MXNet 1.9 writes a PReLU's input gradient over its output gradient, and then takes the
    gradient of the slopes from that.
    """

    def loss(change: float) -> float:
        for name, direction in slopes.items():
            executor.arg_dict[name][:] = executor.arg_dict[name].asnumpy() + change * direction
        return float((executor.forward(is_train=True)[0].asnumpy().astype(np.float64) * gradient).sum())

    high = loss(step)
    return (high - loss(-2 * step)) / (2 * step)


@pytest.mark.parametrize("name", CASES)
def test_inference_and_a_training_step_equal_mxnet(name, monkeypatch, random_arrays):
    case = CASES[name](monkeypatch)
    arrays, images = random_arrays(case.graph, 1), random_images(case)
    backbone = Backbone(case.graph, arrays)
    executor = mxnet_networks.bind(case.symbol, arrays, images)

    expected = executor.forward(is_train=False)[0].asnumpy()
    assert np.linalg.norm(expected[0] - expected[1]) > 0.01 * np.linalg.norm(expected[0])  # the images matter
    assert relative_error(backbone.eval()(flow.tensor(images)).numpy(), expected) < 1e-4

    gradient = np.random.default_rng(3).normal(size=expected.shape).astype(np.float32)
    expected = executor.forward(is_train=True)[0].asnumpy()
    executor.backward(mx.nd.array(gradient))
    theirs = {key: value.asnumpy() for key, value in executor.grad_dict.items()}
    actual = backbone.train()(flow.tensor(images))
    (actual * flow.tensor(gradient)).sum().backward()
    ours = {key: parameter.grad.numpy() for key, parameter in backbone.named_parameters()}
    assert relative_error(actual.numpy(), expected) < 1e-3
    specs = case.graph.parameters()
    slopes = {key: value for key, value in ours.items() if specs[key].kind == "prelu_gamma"}
    # Gradients of constants that a later BatchNorm removes are rounding alone; hence the second summand. The limit is
    # that of float32 on both sides with many layers and few pixels, OneFlow's own kernels included.
    floor = 1e-3 * max(np.linalg.norm(value) for value in theirs.values())
    errors = {key: np.linalg.norm(ours[key] - theirs[key]) for key in ours.keys() - slopes.keys()}
    errors = {key: error / (np.linalg.norm(theirs[key]) + floor) for key, error in errors.items()}
    assert max(errors.values()) < 2e-2, max(errors, key=errors.get)
    length = np.sqrt(sum(np.linalg.norm(value) ** 2 for value in slopes.values()))
    steepest = {key: value / length for key, value in slopes.items()}
    derivative = slope_derivative(executor, steepest, gradient, STEP / length)
    assert derivative == pytest.approx(length, rel=0.03)
