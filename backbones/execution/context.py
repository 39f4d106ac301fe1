"""What an operator may ask of the network that runs it."""

from __future__ import annotations

from dataclasses import dataclass

from backbones.graph.nodes import Node
from ops import flow


@dataclass(frozen=True)
class OperatorContext:
    """One forward pass, as its operators see it.

    Attributes:
        module: holds the arrays as attributes, under their MXNet names.
        training: whether the pass trains.
        new_statistics: where BatchNorm over all ranks puts its moving statistics, by name; None where each rank's
            BatchNorm normalizes its own batch and updates its statistics in place.
    """

    module: flow.nn.Module
    training: bool
    new_statistics: dict[str, flow.Tensor] | None = None

    def array(self, node: Node, kind: str) -> flow.Tensor:
        """Return the array that plays the part ``kind`` (weight, bias, gamma...) in ``node``."""
        return getattr(self.module, node.arrays[kind])
