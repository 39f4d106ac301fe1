"""The interface through which an operator accesses its network."""

from __future__ import annotations

from dataclasses import dataclass

from backbones.graph.nodes import Node
from ops import flow


@dataclass(frozen=True)
class OperatorContext:
    """The context of one forward pass, passed to its operators.

    Attributes:
        module: has the arrays as attributes, under their MXNet names.
        training: whether this is a training pass.
        new_statistics: receives the moving statistics of BatchNorm over all ranks, by name; None if each rank's
            BatchNorm normalizes its own batch and updates its statistics in place.
        freeze_bn: whether BatchNorm normalizes by its moving statistics in training too.
    """

    module: flow.nn.Module
    training: bool
    new_statistics: dict[str, flow.Tensor] | None = None
    freeze_bn: bool = False

    def array(self, node: Node, kind: str) -> flow.Tensor:
        """Return the array with the role ``kind`` (weight, bias, gamma...) in ``node``."""
        return getattr(self.module, node.arrays[kind])
