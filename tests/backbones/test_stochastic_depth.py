"""Units that training skips: their shares, and a network that is otherwise the same. Values are tested with the op."""

from __future__ import annotations

import numpy as np
import pytest

from backbones import build_network, initial_arrays
from backbones.execution.backbone import Backbone
from backbones.graph.masks import draw_keep_masks, masks_by_node
from backbones.graph.stochastic_depth import with_stochastic_depth
from ops import flow
from tests.support import networks


def test_shares_grow_evenly_and_draws_follow_seed_and_position() -> None:
    network = build_network({"net_name": "fresnet", "num_layers": 50})
    skipping = with_stochastic_depth(network, 0.48)
    units = [node for node in skipping.nodes if node.op == "drop_path"]
    assert len(units) == 24 and [node.attrs["p"] for node in units] == pytest.approx(0.02 * np.arange(1, 25))
    assert units[0].inputs == ("stage1_unit1_bn3",)
    masks = list(masks_by_node(skipping).values())
    keep = draw_keep_masks(7, 0, 4000, masks[:24])  # without those of dropout
    np.testing.assert_allclose(1 - keep[:, :24].mean(axis=0), 0.02 * np.arange(1, 25), atol=0.04)
    np.testing.assert_array_equal(draw_keep_masks(7, 100, 5, masks[:24]), keep[100:105])
    assert abs(np.corrcoef(keep[:, 23], keep[:, 22])[0, 1]) < 0.1  # each unit has its own draws


def test_arrays_first_values_and_inference_are_those_of_the_network() -> None:
    network = networks.residual()
    skipping = with_stochastic_depth(network, 0.5)
    assert list(skipping.parameters().items()) == list(network.parameters().items())
    first, second = initial_arrays(network, 3), initial_arrays(skipping, 3)
    assert all((first[name] == second[name]).all() for name in first)
    images = flow.tensor(np.random.default_rng(1).integers(0, 256, (3, 3, 12, 12), np.uint8))
    for native in (True, False):
        embeddings = [Backbone(graph, first, native).eval()(images).numpy() for graph in (network, skipping)]
        np.testing.assert_array_equal(*embeddings)
