"""Maps of which each thread holds a block in its caches never exist as a whole; written whole they would cost time.

Memory is counted in maps of the widest layer: the input of the normalisation and, if it existed, its output have the
size of one. Batches are so large that the blocks of all threads together are small beside a map.
"""

from __future__ import annotations

import numpy as np
import pytest

from backbones import initial_arrays
from backbones.execution.backbone import Backbone
from backbones.execution.compiled import CompiledNetwork
from backbones.graph.masks import masks_by_node
from backbones.graph.network_graph import NetworkGraph
from ops import flow
from tests.support import networks

SIZE, CHANNELS, FILTERS = 24, 64, 16
NETWORKS = {
    "pointwise": networks.normalised_pointwise(SIZE, CHANNELS, FILTERS),
    "depthwise": networks.normalised_depthwise(SIZE, CHANNELS, 1, True),
    "strided depthwise": networks.normalised_depthwise(SIZE, CHANNELS, 2, True),
}
UNTOUCHED = 0x7FA5C3E1  # a NaN that no computation returns


@pytest.fixture(autouse=True)
def _native(native: None) -> None:
    """Every test here needs the kernels."""


def map_bytes(batch: int) -> int:
    return batch * SIZE * SIZE * CHANNELS * np.dtype(np.float32).itemsize


def measure_block(graph: NetworkGraph, batch: int, training: bool) -> int:
    memory, _ = CompiledNetwork(graph, masks_by_node(graph)).ops.measure_memory(batch, training)
    return memory.block


@pytest.mark.parametrize(
    ("name", "training", "maps"),
    [
        # The input of the normalisation and its gradient. The normalised map whole: 3.3; its gradient: 3.0.
        ("pointwise", True, 2.6),
        ("pointwise", False, 0.75),  # else 1.3
        ("depthwise", True, 4.5),  # else 5.1
        ("depthwise", False, 1.5),  # else 2.0
        # The output has a quarter of the pixels. The normalised output whole: 1.8; the gradient of the larger map: 2.5.
        ("strided depthwise", True, 1.7),
    ],
)
def test_the_block_has_no_room_for_a_held_map(name: str, training: bool, maps: float) -> None:
    batch = 2048
    assert measure_block(NETWORKS[name], batch, training) / map_bytes(batch) < maps


@pytest.mark.parametrize(("name", "maps"), [("pointwise", 1 + FILTERS / CHANNELS), ("strided depthwise", 1.25)])
def test_the_forward_pass_writes_no_normalised_map(name: str, maps: float) -> None:
    """It writes the input of the normalisation and the output of the convolution."""
    batch = 128
    backbone = Backbone(NETWORKS[name], initial_arrays(NETWORKS[name], 1)).train()
    memory = backbone.allocate_memory(batch)
    block = memory.gradients[0].base  # they lie in it
    words = block[: len(block) // 4 * 4].view(np.uint32)
    words[:] = UNTOUCHED
    backbone(networks.images(NETWORKS[name], batch), None, memory.reference)
    flow._oneflow_internal.eager.Sync()
    written = 4 * np.count_nonzero(words != UNTOUCHED) / map_bytes(batch)
    assert maps < written < maps + 0.5
