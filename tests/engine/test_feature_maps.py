from __future__ import annotations

from dataclasses import replace

import pytest

from backbones import build_network
from backbones.execution.compiled import CompiledNetwork
from backbones.graph.masks import masks_by_node
from benchmarks.network import network_config
from engine.feature_maps import ELSEWHERE, HELD, USED_UP, block_bytes, inference_bytes
from ops import KERNELS
from ops.native.loader import loaded_library_path


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("name", ["y1", "r18", "r50", "r100"])
def test_the_estimate_is_near_what_the_op_plans(name: str, bfloat16: bool, recompute: bool):
    if loaded_library_path() is None:
        pytest.skip(str(KERNELS))
    network = build_network(network_config(name))
    ops = CompiledNetwork(network, masks_by_node(network), bfloat16, recompute=recompute).ops
    count = sum(spec.trainable for spec in network.parameters().values())
    for gradients, parameters, used_up in ((ELSEWHERE, 0, ""), (HELD, count, ""), (USED_UP, count, "1" * count)):
        planned = replace(ops, used_up=used_up).measure_memory(16, parameters=parameters)[0].block
        estimated = block_bytes(network, 16, bfloat16, recompute, gradients)
        assert estimated == pytest.approx(planned, rel=0.15), gradients


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("name", ["y1", "mbf", "m05", "r50"])
def test_the_estimate_of_inference_is_near_what_the_op_takes(name: str, bfloat16: bool):
    if loaded_library_path() is None:
        pytest.skip(str(KERNELS))
    network = build_network(network_config(name))
    memory, _ = CompiledNetwork(network, masks_by_node(network), bfloat16).ops.measure_memory(16, training=False)
    assert inference_bytes(network, 16, bfloat16) == pytest.approx(memory.block + memory.copies, rel=0.2)
