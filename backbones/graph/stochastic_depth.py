"""Stochastic depth: residual units that training skips at random, more of them towards the end of the network.

Huang et al., Deep Networks with Stochastic Depth, arXiv:1603.09382, with survival probabilities that fall linearly with
depth. The paper skips a unit for a whole mini-batch; here it is drawn for each image, as EfficientNet's
authors and torchvision (mode "row") do, so that the draws depend only on seed and image, not on the number of ranks.
BatchNorm sees all images. A kept branch is scaled by 1 / (1 - p) in training instead of by 1 - p afterwards.
"""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph
from backbones.graph.transformer import TransformerGraph


def with_stochastic_depth(network: NetworkGraph, share: float) -> NetworkGraph:
    """Return ``network`` for training, in which unit l of L is skipped for a share of l / L * ``share`` of the images.

    Arrays and embeddings in inference are those of ``network``. The first input of an addition is the unit's branch.
    """
    units, view = sum(node.op == "add" for node in network.nodes), TransformerGraph()
    number = 0
    for node in network.nodes:
        inputs = list(node.inputs)
        if node.op == "add":
            number += 1
            inputs[0] = view.drop_path(inputs[0], f"{node.name}_drop", share * number / units)
        view.add_like(network, node, inputs)
    return view
