"""Let graphs be destroyed while another one is built.

OneFlow keeps the variables of the graph that is being built in one place for the whole process, and
``nn.Graph.__del__`` empties it. A graph that Python's garbage collector finds in the middle of a build (it was part of
a cycle of references, or an exception's traceback held it) thus takes away the variables of the new one, which fails
with "must be a variable created in nn.Graph".
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


def protect_builds(flow: ModuleType) -> None:
    """Have a graph that is destroyed during a build leave the variables alone; the next one to be destroyed drops them.

    OneFlow's lazy mode is on during a build and at no other time.
    """
    internal, destroy = flow._oneflow_internal, flow.nn.Graph.__del__

    def __del__(graph: Any) -> None:  # noqa: N807 (replaces the method of that name)
        if internal.lazy_mode.is_enabled():
            internal.eager.Sync()  # as OneFlow does: what the graph still computes needs it
        else:
            destroy(graph)

    flow.nn.Graph.__del__ = __del__
