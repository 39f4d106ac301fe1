"""Check named arrays, from any kind of file, against a network's description."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError


def check_arrays(network: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> None:
    """Compare the names and shapes of ``arrays`` with those of ``network``.

    Raises:
        UserError: an array is missing, of another shape, or unknown to the network; the message names the first one.
    """
    parameters = network.parameters()
    for name, spec in parameters.items():
        if name not in arrays:
            raise UserError(f"the weights lack '{name}' {spec.shape}; they belong to another network")
        if tuple(arrays[name].shape) != spec.shape:
            raise UserError(
                f"the weights hold '{name}' of shape {tuple(arrays[name].shape)}, the network expects {spec.shape}; "
                "they belong to another network"
            )
    for name in arrays:
        if name not in parameters:
            raise UserError(
                f"the weights hold '{name}', which the network does not have; they belong to another network"
            )
