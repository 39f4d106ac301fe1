"""The settings of machines and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LaunchOptions:
    """Which machines run ranks, where they connect, and how long they wait for each other.

    Attributes:
        num_nodes: number of machines.
        node_rank: this machine's place among them, from 0.
        node_ips: the machines' addresses; the others connect to the first one.
        master_port: the port they connect to; 0 is any, for one machine.
        rank_timeout: seconds without a heartbeat after which a rank or machine counts as lost.
    """

    num_nodes: int
    node_rank: int
    node_ips: tuple[str, ...]
    master_port: int
    rank_timeout: float

    @property
    def address(self) -> tuple[str, int]:
        """The first machine's address and port, where the others connect."""
        return self.node_ips[0], self.master_port

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LaunchOptions:
        """Return the options that the run's settings ask for."""
        return cls(
            config["num_nodes"],
            config["node_rank"],
            tuple(config["node_ips"]),
            config["master_port"],
            config["rank_timeout"],
        )
