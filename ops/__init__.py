"""Mathematics on tensors, and the only door to OneFlow: ``from ops import flow``.

The first access to ``flow`` or ``KERNELS`` prepares the process (libraries, BLAS kernels, quiet start), loads OneFlow,
and replaces its CPU kernels by faster ones; ``KERNELS`` is a line about the kernels of the process.
Modules of this package that need no framework (class shards, class sampling, moments) import without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.imports import importing

if TYPE_CHECKING:
    import oneflow as flow

    KERNELS: str

__all__ = ["KERNELS", "flow"]


def __getattr__(name: str) -> Any:
    """Load OneFlow on first access."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with importing():
        from ops.native import load_native_kernels
        from ops.runtime.import_oneflow import import_oneflow

        opened = {"flow": import_oneflow(), "KERNELS": load_native_kernels()}
    globals().update(opened)
    return opened[name]
