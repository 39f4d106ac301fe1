"""Mathematics on tensors, and the only door to OneFlow: ``from ops import flow``.

Importing this package prepares the process (libraries, BLAS kernels, quiet start) before OneFlow is loaded.
"""

from ops.runtime import import_oneflow

flow = import_oneflow()

__all__ = ["flow"]
