"""An nn.Graph that skips OneFlow's consistency check of each output between ranks."""

from __future__ import annotations

from typing import Any

from ops import flow


class Graph(flow.nn.Graph):
    """OneFlow's graph with a faster copy of its results.

    OneFlow copies each result once more before it returns it, by an op that checks the tensor's metadata with all
    ranks: half a millisecond per result. The same copy by ``identity`` takes a hundredth of that.
    """

    def _Graph__copy_io(self, io_type: str, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 (OneFlow's name)
        def copy(tensor: flow.Tensor) -> flow.Tensor:
            with flow._oneflow_internal.lazy_mode.guard(False), flow.no_grad():
                return flow._C.identity(tensor)

        return self._Graph__map_io(io_type, copy, *args, **kwargs)
