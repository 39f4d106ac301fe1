"""What a training keeps for its backward pass, and that values computed again there are the same bit for bit."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from backbones import build_network, initial_arrays
from backbones.execution.backbone import Backbone
from backbones.execution.compiled import CompiledNetwork
from backbones.graph.masks import masks_by_node
from backbones.graph.network_graph import NetworkGraph
from engine.optimizer import Optimizer
from engine.options import OptimizerOptions
from ops import flow
from ops.native.loader import native_calls
from ops.native.network import ArrayTable, NetworkOps
from sample_config import generate_config
from tests.support import networks

MEGABYTE = 1e6
# The convolutions' outputs and every second sum of the residual units.
R50 = {(False, False): 30.5, (True, False): 15.3, (False, True): 7.5, (True, True): 3.8}


@pytest.fixture(autouse=True)
def _native(native: None) -> None:
    """Every test here needs the kernels."""


def ops_of(graph: NetworkGraph, bfloat16: bool = False, recompute: bool = False) -> NetworkOps:
    return CompiledNetwork(graph, masks_by_node(graph), bfloat16, recompute=recompute).ops


@pytest.mark.parametrize(("bfloat16", "recompute"), list(R50))
def test_r50_keeps_no_more_than_stated(bfloat16: bool, recompute: bool) -> None:
    graph = build_network(generate_config("r50", "emore", "arcface"))
    memory, _ = ops_of(graph, bfloat16, recompute).measure_memory(16)
    assert memory.kept / 16 / MEGABYTE < R50[bfloat16, recompute]
    assert memory.kept < memory.block < memory.kept + 130 * MEGABYTE
    assert memory.copies == 0


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("freeze_bn", [False, True])
@pytest.mark.parametrize("name", networks.SMALL)
def test_recomputing_changes_no_bit(name: str, freeze_bn: bool, bfloat16: bool) -> None:
    graph = networks.SMALL[name]()
    arrays = initial_arrays(graph, 1)
    modes = {"bfloat16": bfloat16, "freeze_bn": freeze_bn}
    kept, again = (networks.run(Backbone(graph, arrays, recompute=r, **modes), 5) for r in (False, True))
    for part, expected in kept.items():
        np.testing.assert_array_equal(again[part], expected, part)


@pytest.mark.parametrize("name", networks.SMALL)
def test_gradients_in_place_are_those_that_are_returned(name: str) -> None:
    graph = networks.SMALL[name]()
    backbone = Backbone(graph, initial_arrays(graph, 1)).train()
    images = networks.images(graph, 5)
    keep = flow.ones(5, backbone.dropout_width, dtype=flow.uint8) if backbone.dropout_width else None
    memory = backbone.allocate_memory(5)
    backbone(images, keep).square().sum().backward()
    backbone(images, keep, memory.reference.requires_grad_()).square().sum().backward()
    flow._oneflow_internal.eager.Sync()
    for parameter, gradient in zip(backbone.parameters(), backbone.read_gradients(memory).values(), strict=True):
        np.testing.assert_allclose(gradient, parameter.grad.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", networks.SMALL)
def test_arrays_are_found_by_their_addresses(name: str) -> None:
    graph = networks.SMALL[name]()
    backbone = Backbone(graph, initial_arrays(graph, 1), takes_over=True).eval()
    images = networks.images(graph, 5)
    table = backbone.refer()
    for seed in (1, 2):  # the second time the table is older than the arrays
        backbone.load_arrays(initial_arrays(graph, seed))
        found = backbone.run_graph(backbone, images, None, table.reference).numpy()
        np.testing.assert_array_equal(found, backbone(images).numpy())


@pytest.mark.parametrize("name", networks.SMALL)
def test_a_plain_call_is_the_op_bit_for_bit(name: str) -> None:
    graph = networks.SMALL[name]()
    backbone = Backbone(graph, initial_arrays(graph, 1), takes_over=True).eval()
    images = networks.images(graph, 5)
    embed = backbone.direct_inference(are_constant=False)
    other = Backbone(graph, initial_arrays(graph, 3)).direct_inference(are_constant=True)
    expected = other(images.numpy()).copy()
    for seed in (1, 2, 3):  # the networks of both share prepared weights
        backbone.load_arrays(initial_arrays(graph, seed))
        for source in (images.numpy(), np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))):
            np.testing.assert_array_equal(embed(source), backbone(images).numpy())
        np.testing.assert_array_equal(other(images.numpy()), expected)
    np.testing.assert_array_equal(embed(images.numpy()), expected)


def test_a_plain_call_counts_as_one_of_the_op() -> None:
    graph = networks.SMALL["plain"]()
    embed = Backbone(graph, initial_arrays(graph, 1)).direct_inference(are_constant=True)
    before = native_calls()["insightface_network_inference"]
    embed(networks.images(graph, 2).numpy())
    assert native_calls()["insightface_network_inference"] == before + 1


def test_arrays_of_another_type_have_no_table() -> None:
    with pytest.raises(ValueError, match="contiguous float32"):
        ArrayTable([flow.zeros(3), flow.zeros(3, dtype=flow.float64)], [])
    with pytest.raises(ValueError, match="contiguous float32"):
        ArrayTable([flow.zeros(3, 2).transpose(0, 1)], [])


@pytest.mark.parametrize("name", [*networks.SMALL, "broad"])
def test_updates_within_the_backward_pass_are_those_of_the_optimiser(name: str) -> None:
    graph = (networks.SMALL | {"broad": networks.broad})[name]()
    results = []
    for is_early in (False, True):
        backbone = Backbone(graph, initial_arrays(graph, 1), freeze_bn=name == "plain").train()
        optimizer = Optimizer(backbone, None, OptimizerOptions(lr=0.1), backbone.frozen)
        images = networks.images(graph, 5)
        keep = flow.ones(5, backbone.dropout_width, dtype=flow.uint8) if backbone.dropout_width else None
        early = backbone.updatable(optimizer.backbone_names) if is_early else []
        memory = backbone.allocate_memory(5, early)
        for scale in (1.0, 0.5):
            backbone.set_updates(memory, optimizer.early_updates(early, scale), measures=True)
            backbone(images, keep, memory.reference.requires_grad_()).square().sum().backward()
            flow._oneflow_internal.eager.Sync()
            found = {n: g for n, g in backbone.read_gradients(memory).items() if n not in backbone.frozen}
            assert not set(found) & set(early)
            squares = memory.squares + sum(float((g.astype(np.float64) ** 2).sum()) for g in found.values())
            optimizer.step([flow.from_numpy(g) for g in found.values()], scale, updated=early)
        moments = {f"momentum of {name}": array for name, array in optimizer.read_moments()["momentum"].items()}
        results.append((squares, {**backbone.named_arrays(), **moments}))
    (squares, arrays), (early_squares, early_arrays) = results
    assert early_squares == pytest.approx(squares, rel=1e-9)
    for array, expected in arrays.items():
        np.testing.assert_array_equal(early_arrays[array], expected, array)


def test_nothing_is_updated_by_gradients_that_are_not_finite() -> None:
    graph = networks.SMALL["plain"]()
    backbone = Backbone(graph, initial_arrays(graph, 1)).train()
    optimizer = Optimizer(backbone, None, OptimizerOptions())
    before = {name: tensor.numpy().copy() for name, tensor in backbone.named_parameters()}
    early = backbone.updatable(optimizer.backbone_names)
    memory = backbone.allocate_memory(2, early)
    backbone.set_updates(memory, optimizer.early_updates(early, 1.0), measures=True)
    (backbone(networks.images(graph, 2), None, memory.reference.requires_grad_()).sum() * float("nan")).backward()
    flow._oneflow_internal.eager.Sync()
    assert memory.squares == 0
    for name, tensor in backbone.named_parameters():
        np.testing.assert_array_equal(tensor.numpy(), before[name], name)


def resident_code(library: str) -> tuple[int, int, int]:
    """Return the start, the bytes and the bytes in memory of the largest mapped code of a library."""
    found, start, size = (0, 0, 0), 0, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0]:
            start, end = (int(word, 16) for word in words[0].split("-"))
            size = end - start if library in line and words[1] == "r-xp" else 0
        elif words[0] == "Rss:" and size > found[1]:
            found = (start, size, int(words[1]) * 1024)
    return found


def test_a_training_unmaps_code_that_it_does_not_run() -> None:
    start, size, _ = resident_code("libdnnl")
    ctypes.string_at(start, size)  # maps all of it
    mapped = resident_code("libdnnl")[2]
    assert mapped > 0
    graph = networks.SMALL["plain"]()
    backbone = Backbone(graph, initial_arrays(graph, 1)).train()
    memory = backbone.allocate_memory(2)
    backbone(networks.images(graph, 2), None, memory.reference.requires_grad_()).sum().backward()
    flow._oneflow_internal.eager.Sync()
    assert resident_code("libdnnl")[2] < mapped / 2


def test_a_backward_pass_happens_once() -> None:
    graph = networks.SMALL["plain"]()
    loss = Backbone(graph, initial_arrays(graph, 1)).train()(networks.images(graph, 2)).square().sum()
    loss.backward(retain_graph=True)
    with pytest.raises(Exception, match="run the forward pass again"):
        loss.backward()
    flow._oneflow_internal.eager.Sync()
