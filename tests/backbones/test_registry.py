from __future__ import annotations

import pytest
from easydict import EasyDict

from backbones import NETWORKS, build_network
from backbones.graph.flops import count_flops, count_parameters
from common.errors import UserError

Y1 = EasyDict(net_name="fmobilefacenet", emb_size=128, net_output="GDC", net_blocks=[1, 4, 6, 2])
R50 = EasyDict(net_name="fresnet", num_layers=50, emb_size=512, net_output="E", net_unit=3, net_input=1, net_se=0)


@pytest.mark.parametrize(
    ("config", "millions", "giga_multiply_adds"),
    [
        (Y1, 1.00, 0.22),
        (R50, 43.59, 6.31),
        (R50 | {"num_layers": 18}, 24.03, 2.61),
        (R50 | {"num_layers": 34}, 34.14, 4.46),
        (R50 | {"num_layers": 100}, 65.16, 12.09),
    ],
)
def test_sizes_are_the_published_ones(config, millions, giga_multiply_adds):
    graph = build_network(config)
    assert count_parameters(graph) / 1e6 == pytest.approx(millions, abs=0.005)
    assert count_flops(graph) / 1e9 == pytest.approx(giga_multiply_adds, abs=0.005)
    assert graph.output == "fc1"
    assert graph.embedding_size == config["emb_size"]


def test_missing_keys_mean_the_original_defaults():
    minimal = build_network({"net_name": "fresnet", "num_layers": 50})
    assert minimal.nodes == build_network(R50).nodes


def test_options_reach_the_nodes():
    graph = build_network(R50 | {"net_act": "relu", "bn_mom": 0.95, "image_size": 96, "emb_size": 64})
    kinds = {node.op for node in graph.nodes}
    assert "prelu" not in kinds
    assert "activation" in kinds
    assert {node.attrs["momentum"] for node in graph.nodes if node.op == "batch_norm"} == {0.95}
    assert graph.shapes["data"] == (3, 96, 96)
    assert graph.parameters()["pre_fc1_weight"].shape == (64, 512 * 6 * 6)


def test_batch_norm_constants_of_both_families():
    def eps(config):
        return {node.name: node.attrs["eps"] for node in build_network(config).nodes if node.op == "batch_norm"}

    assert set(eps(R50).values()) == {2e-5}
    of_y1 = eps(Y1)
    assert of_y1.pop("fc1") == 2e-5
    assert set(of_y1.values()) == {1e-3}


def test_output_types():
    def head(kind):
        nodes = build_network(R50 | {"net_output": kind}).nodes
        return [node.op for node in nodes[[node.name for node in nodes].index("stage4_unit3_plus") + 1 :]]

    assert head("E") == ["batch_norm", "dropout", "flatten", "fully_connected", "batch_norm"]
    assert head("FC") == head("I") == ["batch_norm", "flatten", "fully_connected", "batch_norm"]
    assert head("GDC") == ["conv", "batch_norm", "flatten", "fully_connected", "batch_norm"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net_name": "resnext"}, "unknown network 'resnext'; known: " + ", ".join(sorted(NETWORKS))),
        ({"num_layers": 51}, "num_layers=51 is not supported for fresnet; supported: 18, 34, 49, 50,"),
        ({"net_unit": 9}, "net_unit=9 is not supported for fresnet; supported: .*3"),
        ({"net_input": 9}, "net_input=9 is not supported for fresnet; supported: .*1"),
        ({"net_se": 9}, "net_se=9 is not supported for fresnet; supported: 0"),
        ({"net_output": "Q"}, "net_output=Q is not supported for fresnet; supported: .*GDC"),
        ({"net_act": "swish"}, "unknown activation 'swish' of net_act; known: prelu, relu"),
        ({"net_multiplier": 0.0}, "net_multiplier=0.0 is not positive"),
        ({"net_name": "fmnasnet", "net_multiplier": 0.01}, "net_multiplier=0.01 leaves none of 32 filters"),
        ({"net_name": "vargfacenet", "net_multiplier": 1.1}, "gives 35 channels, not a multiple of 8"),
        ({"net_name": "vargfacenet", "net_se": 2}, "net_se=2 is not supported for vargfacenet; supported: 0, 1"),
        ({"net_name": "fmobilenet", "net_input": 2}, "net_input=2 is not supported for fmobilenet; supported: 0, 1"),
        ({"net_name": "fdensenet", "num_layers": 50}, "num_layers=50 is not supported for fdensenet; supported: 121"),
        ({"net_name": "iresnet", "num_layers": 152}, "num_layers=152 is not supported for iresnet"),
        ({"net_output": "Z"}, "emb_size=512 must be 25088"),
        ({"net_name": "fdensenet", "num_layers": 169, "net_output": "GDC"}, "do not divide into 512 groups"),
        ({"net_name": "vit", "num_layers": None}, "num_layers=None is not a positive whole number"),
        ({"net_name": "vit", "num_layers": 2, "vit_width": 20}, "vit_width=20 must be a multiple of 8"),
        ({"net_name": "vit", "num_layers": 2, "vit_mask_ratio": 1.0}, "vit_mask_ratio=1.0 must be a share"),
        ({"emb_size": 0}, "emb_size=0"),
        ({"net_output": "GDC", "image_size": 64}, "7x7 convolution does not fit its 4x4 input"),
        ({"net_name": "fmobilefacenet", "net_blocks": [1, 4, 6]}, r"net_blocks=\[1, 4, 6\]"),
        ({"net_name": "fmobilefacenet", "net_blocks": [0, 4, 6, 2]}, r"net_blocks=\[0, 4, 6, 2\]"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError, match=message):
        build_network(R50 | change)


def test_a_config_without_network_is_refused():
    with pytest.raises(UserError, match="net_name"):
        build_network({"num_layers": 50})
