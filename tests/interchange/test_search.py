"""The search for the network that a foreign one is: variants are found, others refused, and few candidates built."""

from __future__ import annotations

import pytest

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from interchange.matching.recognise import AUTO, recognise
from interchange.matching.search import OPTION_VALUES, Search
from sample_config import network as NETWORKS

VARIANTS = {
    "r50-net_se1": {**NETWORKS.r50, "net_se": 1},
    "r100-net_actrelu-net_input2-net_outputGDC-net_se1-net_unit1": {
        **NETWORKS.r100,
        "net_unit": 1,
        "net_input": 2,
        "net_act": "relu",
        "net_output": "GDC",
        "net_se": 1,
    },
    "r152-net_outputGAP-net_unit2": {**NETWORKS.r152, "net_unit": 2, "net_output": "GAP"},
    "y2-net_actrelu-net_outputGNAP": {**NETWORKS.y2, "net_act": "relu", "net_output": "GNAP"},
    "m1-net_multiplier2.0": {**NETWORKS.m1, "net_multiplier": 2.0},
    "vargfacenet-net_multiplier1.0": {**NETWORKS.vargfacenet, "net_multiplier": 1.0},
    "d201-net_outputGAP": {**NETWORKS.d201, "net_output": "GAP"},
    "vit_t-num_layers3-vit_width64": {**NETWORKS.vit_t, "num_layers": 3, "vit_width": 64},
}
BUDGET = 600  # descriptions built, about ten milliseconds each
FIRST = "r50-net_se1"


def count_candidates(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each candidate that a search builds."""
    measured, measure = [], Search._measure
    monkeypatch.setattr(Search, "_measure", lambda *given: measured.append(1) or measure(*given))
    return measured


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != FIRST)) for n in VARIANTS])
def test_variants_without_a_name_are_found_soon(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    graph, measured = build_network(VARIANTS[name]), count_candidates(monkeypatch)
    assert recognise(graph, NETWORKS, AUTO, "model").name == name
    assert len(measured) < BUDGET


def stranger(layers: int) -> NetworkGraph:
    """Return a network of 3x3 convolutions and ReLUs, which no family has."""
    graph = NetworkGraph()
    x = graph.input("data", (3, 112, 112))
    for index in range(layers):
        x = graph.conv(x, f"conv{index}", 64, 3, 2 if index % 10 == 0 and index < 40 else 1, 1, bias=True)
        x = graph.activation(x, f"relu{index}", "relu")
    graph.fully_connected(graph.flatten(x, "flat"), "out", 128)
    return graph


def test_an_unknown_network_is_refused_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = count_candidates(monkeypatch)
    with pytest.raises(UserError, match="model is not a network known here; the nearest is .*, its 'conv0'"):
        recognise(stranger(50), NETWORKS, AUTO, "model")
    assert len(measured) < BUDGET


@pytest.mark.parametrize("start", [NETWORKS.r18, NETWORKS.mnas025])
def test_distances_taken_from_other_options_are_right(start: dict) -> None:
    search = Search(build_network({**NETWORKS.y1, "emb_size": 64}))
    for key, values in OPTION_VALUES.items():
        for value in values:
            options = {**start, key: value}
            assert search.distance(options) == search._measure(options)[1], options
