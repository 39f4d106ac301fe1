"""What a rank holds of a tensor, whether it is local or global."""

from __future__ import annotations

from ops import flow


def local_view(tensor: flow.Tensor) -> flow.Tensor:
    """Return this rank's part of ``tensor``, sharing its memory and without gradient."""
    return (tensor.to_local() if tensor.is_global else tensor).detach()


def broadcast(tensor: flow.Tensor) -> flow.Tensor:
    """Return a global tensor complete on each rank; a local tensor as it is."""
    return tensor.to_global(sbp=flow.sbp.broadcast) if tensor.is_global else tensor
