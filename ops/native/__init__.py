"""Faster C++ kernels for OneFlow's float32 ops on the CPU, on oneDNN: optional, built on first use.

Loading them replaces OneFlow's own CPU kernels of ``conv2d``, ``prelu``, ``normalization``, ``l2_normalize``, of their
gradients, and of ``matmul``, in eager mode and in graphs, for the whole process. The ops, their shapes and layouts stay
the same. README.md is the map of the code.
"""

from ops.native.loader import load_native_kernels, native_calls

__all__ = ["load_native_kernels", "native_calls"]
