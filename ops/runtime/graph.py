"""Graphs whose results cost the ranks no word with each other."""

from __future__ import annotations

from typing import Any

from ops import flow


class Graph(flow.nn.Graph):
    """OneFlow's graph, which copies its results once more before it returns them.

    It does so by an op that makes the ranks compare notes about each of them, half a millisecond every time. The same
    copy by an op without that takes a hundredth.
    """

    def _Graph__copy_io(self, io_type: str, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 (OneFlow's name)
        def copy(tensor: flow.Tensor) -> flow.Tensor:
            with flow._oneflow_internal.lazy_mode.guard(False), flow.no_grad():
                return flow._C.identity(tensor)

        return self._Graph__map_io(io_type, copy, *args, **kwargs)
