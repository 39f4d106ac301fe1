from __future__ import annotations

from math import prod

import mxnet_networks
import pytest

from backbones import build_graph
from backbones.flops import count_parameters
from backbones.iresnet import UNITS_PER_STAGE, WIDTHS

DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 14, 3], 100: [3, 13, 30, 3], 152: [3, 8, 36, 3]}
CASES = {
    "y1": (
        {"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"},
        lambda: mxnet_networks.mobilefacenet([1, 4, 6, 2], "GDC", 128),
    ),
    "y2": (
        {"net_name": "fmobilefacenet", "emb_size": 256, "net_output": "GDC", "net_blocks": [2, 8, 16, 4]},
        lambda: mxnet_networks.mobilefacenet([2, 8, 16, 4], "GDC", 256),
    ),
    "r50-FC": (
        {"net_name": "fresnet", "num_layers": 50, "emb_size": 256, "net_output": "FC"},
        lambda: mxnet_networks.fresnet([3, 4, 14, 3], WIDTHS, "FC", 256),
    ),
    "r50-GDC": (
        {"net_name": "fresnet", "num_layers": 50, "net_output": "GDC"},
        lambda: mxnet_networks.fresnet([3, 4, 14, 3], WIDTHS, "GDC", 512),
    ),
} | {
    f"r{depth}": (
        {"net_name": "fresnet", "num_layers": depth},
        lambda units=units: mxnet_networks.fresnet(units, [64, 64, 128, 256, 512], "E", 512),
    )
    for depth, units in DEPTHS.items()
}


@pytest.mark.parametrize("case", CASES)
def test_names_shapes_and_order_are_those_of_the_symbol(case):
    config, make_symbol = CASES[case]
    symbol = make_symbol()
    arg_shapes, out_shapes, aux_shapes = symbol.infer_shape(data=(1, 3, 112, 112))
    arguments = dict(zip(symbol.list_arguments(), arg_shapes, strict=True))
    del arguments["data"]
    states = dict(zip(symbol.list_auxiliary_states(), aux_shapes, strict=True))

    graph = build_graph(config)
    parameters = graph.parameters()

    ours = {name: spec.shape for name, spec in parameters.items() if not spec.auxiliary}
    assert list(ours.items()) == list(arguments.items())
    assert {name: spec.shape for name, spec in parameters.items() if spec.auxiliary} == states
    assert symbol.list_outputs() == [f"{graph.output}_output"]
    assert out_shapes == [(1, graph.embedding_size)]
    assert count_parameters(graph) == sum(map(prod, arguments.values()))


def test_depth_table_covers_the_published_depths():
    assert {depth: list(UNITS_PER_STAGE[depth]) for depth in DEPTHS} == DEPTHS
