"""Let a graph build its variables in the scope of the module that has them.

``nn.Graph`` makes a scope of its own for each parameter and buffer, by printing and parsing a text and waiting for
OneFlow's queue. It holds the variable's name, which the operation has anyway, and costs more than all else that is
done for the variable: for the 800 arrays of a ResNet-100 about a second.
"""

from __future__ import annotations

from types import ModuleType


def share_scopes(flow: ModuleType) -> None:
    """Have variables take the scope that they are built in, which is that of their module."""
    flow.nn.graph.graph_block.GraphTensor.scope = property(lambda tensor: tensor.prev_scope)
