from __future__ import annotations

import pytest

from backbones import build_graph
from engine.snapshot import describe_network


@pytest.mark.parametrize(
    ("network", "mean", "scale"),
    [
        ({"net_name": "fresnet", "num_layers": 18}, 127.5, 0.0078125),
        ({"net_name": "fresnet", "num_layers": 18, "net_input": 2}, 0.0, 1.0),
        ({"net_name": "iresnet", "num_layers": 18}, 127.5, 1 / 127.5),
    ],
)
def test_the_preprocessing_is_that_of_the_network(network, mean, scale):
    graph = build_graph({"net_output": "GAP", "image_size": 32, "emb_size": 16} | network)
    about = describe_network(graph)
    assert about["preprocessing"] == {"mean": mean, "scale": scale, "inside_network": True}
    assert (about["input"]["height"], about["emb_size"]) == (32, 16)
