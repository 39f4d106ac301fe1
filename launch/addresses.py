"""Addresses and ports, as OneFlow counts machines."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from common.errors import UserError


def first_local_ranks(addresses: Mapping[int, str], ranks: int) -> list[int]:
    """Return each node's first LOCAL_RANK.

    OneFlow identifies a machine by its address as node 0 sees it and numbers the ranks of one address from 0, across
    nodes. A rank with any other LOCAL_RANK hangs at its first tensor.
    """
    ordered = [addresses[node] for node in range(len(addresses))]
    nodes_each, rest = divmod(len(ordered), len(set(ordered)))
    if rest or any(address != ordered[i - i % nodes_each] for i, address in enumerate(ordered)):
        raise UserError(
            f"the nodes connected from {', '.join(ordered)}: every machine must run the same number of nodes, with "
            "consecutive numbers; start one node per machine with more --device_num_per_node"
        )
    return [i % nodes_each * ranks for i in range(len(ordered))]


def own_address(family: int, address: tuple[str, int]) -> str:
    """Return the address that connections from this machine to ``address`` come from."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)
        return probe.getsockname()[0]


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
