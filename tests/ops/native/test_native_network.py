"""The network op against the same network node by node in float64 by OneFlow's own kernels, and against itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backbones import build_network, initial_arrays
from backbones.execution.backbone import Backbone
from backbones.graph.network_graph import NetworkGraph
from ops import flow
from ops.native import native_calls
from tests.support import networks

TOLERANCE = 1e-5
ROOT = Path(__file__).parents[3]
CHANGED = ("stem_weight", "stem_bn_moving_mean", "stem_bn_moving_var", "stem_bn_gamma", "stem_bn_beta", "fc1_bias")


@pytest.fixture(autouse=True)
def _native(native: None) -> None:
    """Every test here needs the kernels."""


def run(graph: NetworkGraph, arrays: dict[str, np.ndarray], batch: int, **options: bool) -> networks.Outcome:
    return networks.run(Backbone(graph, arrays, **options), batch)


def run_in_float64(graph: NetworkGraph, arrays: dict[str, np.ndarray], batch: int, **options: bool) -> networks.Outcome:
    """The kernels loaded here compute float32 only, so float64 is left to OneFlow's."""
    return networks.run(Backbone(graph, arrays, native=False, **options).to(flow.float64), batch)


def largest(difference: np.ndarray, reference: np.ndarray) -> float:
    # Some gradients are zero but for rounding: those of what a later normalisation takes out again.
    return float(np.abs(difference).max() / max(np.abs(reference).max(), 0.1))


def assert_close(outcome: networks.Outcome, reference: networks.Outcome, tolerance: float) -> None:
    for part, expected in reference.items():
        assert outcome[part].shape == expected.shape, part
        assert largest(outcome[part] - expected, expected) < tolerance, part


def soften_kinks(graph: NetworkGraph, arrays: dict[str, np.ndarray], slope: float) -> None:
    """Of many values some lie at the kink: rounding to its other side changes a gradient by more than rounding."""
    for name, spec in graph.parameters().items():
        if spec.kind == "prelu_gamma":
            arrays[name][:] = slope


@pytest.mark.parametrize(
    ("name", "batch"),
    # The last BatchNorm of "mobile" sees one number of each image: of two of them only rounding has a gradient.
    [(name, batch) for name in networks.SMALL for batch in ((3, 5) if name == "mobile" else (1, 2, 5))],
)
def test_small_networks_agree_with_float64(
    name: str, batch: int, random_arrays: Callable[..., dict[str, np.ndarray]]
) -> None:
    graph = networks.SMALL[name]()
    arrays = random_arrays(graph, 3)
    if name == "wide":
        soften_kinks(graph, arrays, 0.99)
    calls = native_calls()["insightface_network_backward"]
    outcome = run(graph, arrays, batch)
    assert native_calls()["insightface_network_backward"] == calls + 1
    assert_close(outcome, run_in_float64(graph, arrays, batch), TOLERANCE)


@pytest.mark.parametrize("name", networks.SMALL)
def test_frozen_batch_norm_agrees_with_float64(name: str, random_arrays) -> None:
    graph = networks.SMALL[name]()
    arrays = random_arrays(graph, 3)
    if name == "wide":
        soften_kinks(graph, arrays, 0.99)
    calls = native_calls()["insightface_network_backward"]
    outcome = run(graph, arrays, 5, freeze_bn=True)
    assert native_calls()["insightface_network_backward"] == calls + 1
    assert_close(outcome, run_in_float64(graph, arrays, 5, freeze_bn=True), TOLERANCE)
    nodes = run(graph, arrays, 5, freeze_bn=True, native=False)
    assert_close(outcome, nodes, TOLERANCE)
    assert all((outcome[part] == arrays[part.removeprefix("moving:")]).all() for part in outcome if "moving:" in part)
    if not any(node.op == "dropout" for node in graph.nodes):
        assert largest(outcome["embeddings"] - outcome["inference"], outcome["inference"]) < TOLERANCE


def test_gradients_of_frozen_batch_norm_are_differences_of_the_loss(random_arrays) -> None:
    """Of the whole network in float64, by OneFlow's own kernels, along a random direction."""
    graph = networks.SMALL["pointwise"]()
    arrays = random_arrays(graph, 3)
    soften_kinks(graph, arrays, 0.999)
    rng, images = np.random.default_rng(0), networks.images(graph, 3)
    names = [name for name, spec in graph.parameters().items() if spec.trainable]
    direction = {name: rng.normal(size=arrays[name].shape) * 1e-4 for name in names}

    def loss(factor: float) -> tuple[flow.Tensor, Backbone]:
        moved = Backbone(graph, arrays, native=False, freeze_bn=True).train().to(flow.float64)
        for name in names:
            tensor = getattr(moved, name)
            tensor.data = flow.tensor(arrays[name].astype(np.float64) + factor * direction[name], dtype=flow.float64)
        return moved(images).square().sum(), moved

    here, backbone = loss(0)
    here.backward()
    slope = sum(float((getattr(backbone, name).grad.numpy() * direction[name]).sum()) for name in names)
    ahead, behind = (float(loss(factor)[0].numpy()) for factor in (1, -1))
    assert slope == pytest.approx((ahead - behind) / 2, rel=1e-5)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 3, 12])
def test_convolutions_agree_with_float64(
    kernel: int, stride: int, groups: int, random_arrays: Callable[..., dict[str, np.ndarray]]
) -> None:
    for size, pad, bias in ((7, kernel // 2, True), (12, 0, False)):
        graph = networks.single_convolution(size, 12, kernel, stride, pad, groups, bias)
        arrays = random_arrays(graph, 5)
        assert_close(run(graph, arrays, 3), run_in_float64(graph, arrays, 3), TOLERANCE)


@pytest.mark.parametrize(("size", "channels", "slope"), [(1, 5, True), (7, 35, True), (10, 16, False)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("freeze_bn", [False, True])
def test_normalised_depthwise_convolutions_agree_with_float64(
    size: int, channels: int, slope: bool, stride: int, freeze_bn: bool, random_arrays
) -> None:
    graph = networks.normalised_depthwise(size, channels, stride, slope)
    arrays = random_arrays(graph, 5)
    outcome = run(graph, arrays, 5, freeze_bn=freeze_bn)
    # The second normalisation makes the first one's gradients small differences of large sums.
    assert_close(outcome, run_in_float64(graph, arrays, 5, freeze_bn=freeze_bn), 2 * TOLERANCE)


@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("size", [15, 20, 25])
@pytest.mark.parametrize("filters", [32, 112])
def test_winograd_convolutions_agree_with_float64(size: int, pad: int, filters: int, random_arrays) -> None:
    graph = networks.single_convolution(size, filters, 3, 1, pad, 1, False)
    arrays = random_arrays(graph, 6)
    assert_close(run(graph, arrays, 4), run_in_float64(graph, arrays, 4), TOLERANCE)


def test_winograd_convolutions_of_many_filters_agree_with_float64(random_arrays) -> None:
    """Blocks of tiles are larger there, as far as the second cache allows; more tiles than a block for each thread."""
    graph = networks.single_convolution(20, 256, 3, 1, 1, 1, False)
    arrays = random_arrays(graph, 6)
    assert_close(run(graph, arrays, 12), run_in_float64(graph, arrays, 12), TOLERANCE)


@pytest.mark.parametrize(("size", "filters", "batch"), [(27, 32, 4), (21, 64, 6), (47, 32, 2), (28, 288, 4)])
def test_strided_winograd_convolutions_agree_with_float64(size: int, filters: int, batch: int, random_arrays) -> None:
    """Even and odd sizes; outputs that tiles of 4 fill, and that need tiles of 3."""
    graph = networks.single_convolution(size, filters, 3, 2, 1, 1, False)
    arrays = random_arrays(graph, 6)
    assert_close(run(graph, arrays, batch), run_in_float64(graph, arrays, batch), TOLERANCE)


@pytest.mark.parametrize(("size", "filters"), [(15, 32), (15, 112), (25, 32), (25, 112), (57, 32)])
def test_winograd_filter_gradients_in_bfloat16(size: int, filters: int, random_arrays) -> None:
    """Channels that fill panels of products and that do not; tiles of one block, and of several."""
    graph = networks.single_convolution(size, filters, 3, 1, 1, 1, False)
    arrays = random_arrays(graph, 6)
    part = "gradient:conv_weight"
    expected, rounded = run_in_float64(graph, arrays, 4)[part], run(graph, arrays, 4, bfloat16=True)[part]
    assert np.linalg.norm(rounded - expected) < 0.02 * np.linalg.norm(expected)
    # Rounding errs to both sides alike: what is left over a whole filter bank is small against the error itself.
    assert abs(np.mean(rounded - expected)) < 0.2 * np.std(rounded - expected)


@pytest.mark.parametrize(("size", "filters", "pad"), [(14, 64, 1), (15, 96, 0), (17, 64, 2)])
def test_winograd_convolutions_in_bfloat16(size: int, filters: int, pad: int, random_arrays) -> None:
    """Of two convolutions of bfloat16 maps, and of their gradients, some parts in 1000 are lost to rounding."""
    graph = networks.single_convolution(size, filters, 3, 1, pad, 1, False)
    arrays = random_arrays(graph, 6)
    expected, rounded = run_in_float64(graph, arrays, 4), run(graph, arrays, 4, bfloat16=True)
    for part, exact in expected.items():
        assert np.linalg.norm(rounded[part] - exact) < 0.015 * np.linalg.norm(exact), part


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (3, 2, 1), (2, 1, 0), (3, 3, 2)])
def test_first_convolutions_agree_with_float64(kernel: int, stride: int, pad: int, random_arrays) -> None:
    for size, filters in ((19, 64), (12, 5)):
        graph = networks.first_convolution(size, filters, kernel, stride, pad)
        arrays = random_arrays(graph, 5)
        expected = run_in_float64(graph, arrays, 3)
        assert_close(run(graph, arrays, 3), expected, TOLERANCE)
        part = "gradient:conv_weight"
        rounded = run(graph, arrays, 3, bfloat16=True)[part]
        assert np.linalg.norm(rounded - expected[part]) < 0.015 * np.linalg.norm(expected[part])


def test_layers_computed_in_parts_agree_with_float64(random_arrays) -> None:
    graph = networks.broad()
    arrays = random_arrays(graph, 6)
    expected = run_in_float64(graph, arrays, 4)
    assert_close(run(graph, arrays, 4), expected, TOLERANCE)
    for part, rounded in run(graph, arrays, 4, bfloat16=True).items():
        assert np.linalg.norm(rounded - expected[part]) < 0.02 * np.linalg.norm(expected[part]), part


@pytest.mark.parametrize("network", [{"net_name": "fmobilefacenet", "net_output": "GDC"}, {"image_size": 48}])
def test_whole_networks_are_as_exact_as_node_by_node(network: dict, random_arrays) -> None:
    graph = build_network({"net_name": "fresnet", "num_layers": 18, "emb_size": 64, **network})
    arrays = random_arrays(graph, 1)
    soften_kinks(graph, arrays, 1.0)
    exact = run_in_float64(graph, arrays, 3)
    outcome, nodes = run(graph, arrays, 3), run(graph, arrays, 3, native=False)
    ours, theirs = (
        np.array([largest(result[part] - expected, expected) for part, expected in exact.items()])
        for result in (outcome, nodes)
    )
    # Rounding errors grow through many layers in any implementation; which array has the largest is random.
    assert ours.max() < 3 * theirs.max() + 2e-5, list(exact)[ours.argmax()]
    assert ours.mean() < 2 * theirs.mean() + 2e-6


@pytest.mark.parametrize("batch", [6, 11, 16, 21])
def test_a_batch_in_portions_gives_each_image_its_embedding(batch: int) -> None:
    backbone = Backbone(networks.SMALL["pointwise"](), initial_arrays(networks.SMALL["pointwise"](), 1)).eval()
    images = flow.tensor(np.random.default_rng(3).integers(0, 256, (batch, 3, 14, 14)).astype(np.uint8))
    with flow.no_grad():
        together = backbone(images).numpy()
        alone = np.concatenate([backbone(images[i : i + 1]).numpy() for i in range(batch)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def infer(backbone: Backbone, images: np.ndarray) -> np.ndarray:
    with flow.no_grad():
        return backbone.eval()(flow.tensor(images)).numpy()


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(
    ("size", "stride", "batch"),
    # Many images, of which each is one block of lines; few, divided into blocks; odd sizes; small maps.
    [(14, 1, 8), (14, 2, 8), (28, 1, 2), (28, 2, 2), (15, 1, 3), (15, 2, 3), (7, 1, 4), (5, 2, 9)],
)
def test_expanded_depthwise_convolutions_agree_with_float64(
    size: int, stride: int, batch: int, normalised: bool, random_arrays
) -> None:
    graph = networks.expanded_depthwise(size, stride, normalised)
    arrays = random_arrays(graph, 3)
    images = np.random.default_rng(4).integers(0, 256, (batch, 3, size, size)).astype(np.uint8)
    exact = infer(Backbone(graph, arrays, native=False).to(flow.float64), images)
    assert largest(infer(Backbone(graph, arrays), images) - exact, exact) < TOLERANCE
    rounded = infer(Backbone(graph, arrays, bfloat16=True), images)
    assert np.linalg.norm(rounded - exact) < 0.02 * np.linalg.norm(exact)
    alone = np.concatenate([infer(Backbone(graph, arrays), images[i : i + 1]) for i in range(batch)])
    assert largest(alone - exact, exact) < TOLERANCE


@pytest.mark.parametrize("name", ["residual", "mobile", "pointwise", "wide"])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_runs_repeat_bit_for_bit(name: str, bfloat16: bool) -> None:
    graph = networks.SMALL[name]()
    arrays = initial_arrays(graph, 1)
    first, *others = (run(graph, arrays, 6, bfloat16=bfloat16) for _ in range(4))
    for other in others:
        for part, values in first.items():
            np.testing.assert_array_equal(values, other[part], err_msg=part)


@pytest.mark.parametrize("name", ["mobile", "pointwise", "wide"])
def test_runs_repeat_while_other_programs_hold_threads_up(name: str) -> None:
    graph = networks.SMALL[name]()
    arrays = initial_arrays(graph, 1)
    first = run(graph, arrays, 48)
    core = min(os.sched_getaffinity(0))
    work = f"import os, time; os.sched_setaffinity(0, [{core}])\nwhile time.process_time() < 60: pass"
    busy = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(3)]
    try:
        others = [run(graph, arrays, 48) for _ in range(4)]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    for other in others:
        for part, values in first.items():
            np.testing.assert_array_equal(values, other[part], err_msg=part)


@pytest.mark.parametrize("name", ["residual", "mobile", "dense", "wide"])
@pytest.mark.parametrize("freeze_bn", [False, True])
def test_bfloat16_is_float32_but_for_rounding(name: str, freeze_bn: bool, random_arrays) -> None:
    graph = networks.SMALL[name]()
    arrays = random_arrays(graph, 3)
    exact, rounded = (run(graph, arrays, 16, freeze_bn=freeze_bn, bfloat16=bfloat16) for bfloat16 in (False, True))
    assert rounded["embeddings"].dtype == np.float32
    assert 0 < largest(rounded["embeddings"] - exact["embeddings"], exact["embeddings"]) < 0.05
    for part, expected in exact.items():
        if part.startswith("gradient:") and np.abs(expected).max() > 1e-2:
            cosine = np.vdot(rounded[part], expected) / np.linalg.norm(rounded[part]) / np.linalg.norm(expected)
            assert cosine > 0.98, part


@pytest.mark.parametrize("threads", ["1", "2"])
def test_weights_that_change_are_noticed_in_inference(threads: str, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("change_weights.py"))]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert json.loads(found) == {"unchanged": False, **dict.fromkeys(CHANGED, True)}


def test_a_network_without_a_layer_for_a_node_runs_node_by_node() -> None:
    graph = networks.flattened_then_normalised()
    backbone = Backbone(graph, initial_arrays(graph, 1))
    assert backbone.executor == "one op per node (batch_norm of a flattened map)"
    assert backbone.eval()(networks.images(graph, 2)).shape == (2, 3)


def test_float_images_give_what_bytes_give() -> None:
    graph = networks.SMALL["plain"]()
    backbone = Backbone(graph, initial_arrays(graph, 1)).eval()
    images = networks.images(graph, 3)
    np.testing.assert_array_equal(backbone(images).numpy(), backbone(images.to(flow.float32)).numpy())


@pytest.mark.parametrize("dtype", [flow.uint8, flow.float32])
def test_images_with_channels_last_give_what_others_give(dtype: flow.dtype) -> None:
    graph = networks.SMALL["plain"]()
    backbone = Backbone(graph, initial_arrays(graph, 1)).train()
    images = networks.images(graph, 8).to(dtype)
    channels_last = flow.tensor(np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1)))
    np.testing.assert_array_equal(backbone(channels_last).numpy(), backbone(images).numpy())
    backbone.eval()  # 8 images in portions
    np.testing.assert_array_equal(backbone(channels_last).numpy(), backbone(images).numpy())
