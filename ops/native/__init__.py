"""C++ kernels for OneFlow's float32 ops on the CPU, by oneDNN: built on first use, optional, several times as fast.

Loading them replaces OneFlow's own CPU kernels of ``conv2d``, ``prelu``, ``normalization``, ``l2_normalize``, of their
gradients, and of ``matmul``, in eager mode and in graphs, for the whole process. Nothing else changes: the ops, their
shapes and layouts stay.
"""

from ops.native.loader import load_native_kernels, native_calls

__all__ = ["load_native_kernels", "native_calls"]
