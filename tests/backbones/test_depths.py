from __future__ import annotations

from backbones.graph.depths import array_depths
from backbones.graph.network_graph import NetworkGraph
from tests.support.tiny import tiny_network


def test_a_layer_is_as_deep_as_the_longest_way_to_it() -> None:
    graph = NetworkGraph()
    x = graph.input("data", (3, 8, 8))
    first = graph.batch_norm(graph.conv(x, "first", 4, kernel=3, pad=1), "norm", 1e-5)
    longer = graph.conv(graph.conv(first, "second", 4, kernel=3, pad=1), "third", 4, kernel=3, pad=1)
    shorter = graph.conv(first, "shortcut", 4, kernel=1)
    graph.fully_connected(graph.flatten(graph.add(longer, shorter, "sum"), "flat"), "last", 2)
    depths = array_depths(graph)
    names = ("first_weight", "norm_gamma", "second_weight", "third_weight", "shortcut_weight", "last_bias")
    assert [depths[name] for name in names] == [1, 1, 2, 3, 2, 4]


def test_every_array_has_a_depth() -> None:
    network = tiny_network(dropout=0.4, batch_norm=True)
    assert array_depths(network).keys() == network.parameters().keys()
