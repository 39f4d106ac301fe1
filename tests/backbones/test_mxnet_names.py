from __future__ import annotations

from math import prod

import pytest

from backbones import build_network
from backbones.graph.flops import count_parameters
from backbones.networks.iresnet import UNITS_PER_STAGE, WIDTHS
from tests.backbones import mxnet_light_networks as light
from tests.backbones import mxnet_networks

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
CASES |= {
    "r50v1 se": (
        {"net_name": "fresnet", "num_layers": 50, "net_unit": 1, "net_se": 1},
        lambda: mxnet_networks.fresnet(DEPTHS[50], WIDTHS, "E", 512, version=1, se=True),
    ),
    "r34 unit 2 input 2": (
        {"net_name": "fresnet", "num_layers": 34, "net_unit": 2, "net_input": 2, "net_output": "GAP"},
        lambda: mxnet_networks.fresnet(DEPTHS[34], WIDTHS, "GAP", 512, version=2, net_input=2),
    ),
    "r34 unit 4 input 0": (
        {"net_name": "fresnet", "num_layers": 34, "net_unit": 4, "net_input": 0, "net_output": "F"},
        lambda: mxnet_networks.fresnet(DEPTHS[34], WIDTHS, "F", 512, version=4, net_input=0),
    ),
    "vargfacenet se": (
        {"net_name": "vargfacenet", "net_output": "J", "net_multiplier": 1.25, "net_se": 1},
        lambda: light.vargfacenet(1.25, True, 512),
    ),
    "vargfacenet": (
        {"net_name": "vargfacenet", "net_output": "J", "net_multiplier": 1.25},
        lambda: light.vargfacenet(1.25, False, 512),
    ),
    "d169": ({"net_name": "fdensenet", "num_layers": 169}, lambda: light.densenet(64, 32, [6, 12, 32, 32], "E", 512)),
    "d201": ({"net_name": "fdensenet", "num_layers": 201}, lambda: light.densenet(64, 32, [6, 12, 48, 32], "E", 512)),
}
for _factor, _input, _output in ((1.0, 1, "GDC"), (0.5, 1, "GDC"), (0.25, 0, "E")):
    _config = {"emb_size": 256, "net_output": _output, "net_multiplier": _factor}
    CASES[f"mobilenet x {_factor}"] = (
        {"net_name": "fmobilenet", "net_input": _input, **_config},
        lambda f=_factor, i=_input, o=_output: light.mobilenet(f, i, o, 256),
    )
    CASES[f"mnasnet x {_factor}"] = (
        {"net_name": "fmnasnet", **_config, "net_output": "GDC"},
        lambda f=_factor: light.mnasnet(f, "GDC", 256),
    )


@pytest.mark.parametrize("case", CASES)
def test_names_shapes_and_order_are_those_of_the_symbol(case):
    config, make_symbol = CASES[case]
    symbol = make_symbol()
    arg_shapes, out_shapes, aux_shapes = symbol.infer_shape(data=(1, 3, 112, 112))
    arguments = dict(zip(symbol.list_arguments(), arg_shapes, strict=True))
    del arguments["data"]
    states = dict(zip(symbol.list_auxiliary_states(), aux_shapes, strict=True))

    graph = build_network(config)
    parameters = graph.parameters()

    ours = {name: spec.shape for name, spec in parameters.items() if not spec.auxiliary}
    assert list(ours.items()) == list(arguments.items())
    assert {name: spec.shape for name, spec in parameters.items() if spec.auxiliary} == states
    assert symbol.list_outputs() == [f"{graph.output}_output"]
    assert out_shapes == [(1, graph.embedding_size)]
    assert count_parameters(graph) == sum(map(prod, arguments.values()))


def test_depth_table_covers_the_published_depths():
    assert {depth: list(UNITS_PER_STAGE[depth]) for depth in DEPTHS} == DEPTHS
