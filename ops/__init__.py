"""Mathematics on tensors, and the only door to OneFlow: ``from ops import flow``.

Importing this package prepares the process (libraries, BLAS kernels, quiet start), loads OneFlow, and puts the faster
CPU kernels in place of OneFlow's own; ``KERNELS`` is a line that says which ones the process has.
"""

from ops.native import load_native_kernels
from ops.runtime import import_oneflow

flow = import_oneflow()
KERNELS = load_native_kernels()

__all__ = ["KERNELS", "flow"]
