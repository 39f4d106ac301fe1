"""Check that BatchNorm in training has more than one number a channel to normalise by."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError


def check_batch_norm(config: Mapping[str, Any], ranks: int, network: NetworkGraph) -> None:
    """Check that no BatchNorm of a value with one pixel gets a single image at a time.

    The variance of one number is zero: such a layer returns its betas whatever the image, and its running variance,
    which divides by N - 1, is not a number. The loss alone does not show it.

    Raises:
        UserError: a BatchNorm would normalise single numbers.
    """
    pieces = config["gradient_accumulation"]
    images = config["train_batch_size"] // ranks // pieces
    if config["freeze_bn"] or images > 1 or (config["sync_bn"] and ranks > 1):
        return
    layers = [
        node.name for node in network.nodes if node.op == "batch_norm" and prod(network.shapes[node.name][1:]) == 1
    ]
    if layers:
        raise UserError(
            f"--train_batch_size {config['train_batch_size']} on {ranks} rank(s)"
            + (f" in --gradient_accumulation {pieces} pieces" if pieces > 1 else "")
            + f" gives BatchNorm {layers[-1]} one image at a time, and the variance of one number is 0: nothing "
            "would be learned; give each rank at least two images"
            + (", use fewer pieces" if pieces > 1 else "")
            + (", or --sync_bn 1" if ranks > 1 else "")
        )
