"""Some rows of a large float32 array, fetched and updated by all threads: the C++ of ``ops/native/src/row_bank.h``."""

from __future__ import annotations

import ctypes
from math import prod

import numpy as np

from ops.native.loader import find_loaded_library, open_loaded_library

_INT, _FLOAT, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


class _RowsInPlace(ctypes.Structure):
    """``RowsInPlace`` of ``row_products.h``."""

    _fields_ = (("matrix", _POINTER), ("indices", _POINTER), ("count", _INT), ("width", _INT), ("gradients", _POINTER))


class RowChoice:
    """Rows of a float32 array, and where their gradients go, for the ops of ``row_products.h``.

    Attributes:
        address: by which the ops find it; it stays the same.
    """

    def __init__(self) -> None:
        self._structure = _RowsInPlace()
        self._arrays: tuple[np.ndarray, ...] = ()
        self.address = ctypes.addressof(self._structure)

    def set(self, rows: np.ndarray, indices: np.ndarray, gradients: np.ndarray) -> None:
        """Choose the rows ``indices``, int64, ascending, of ``rows`` [N, E]; ``gradients`` [K, E] takes the first."""
        width = _check(rows, indices, gradients)
        consecutive = len(indices) > 0 and indices[0] == 0 and indices[-1] == len(indices) - 1
        self._arrays = (rows, indices, gradients)  # they stay where they are for as long as an op may look
        self._structure.matrix = rows.ctypes.data
        self._structure.indices = None if consecutive else indices.ctypes.data
        self._structure.count = len(indices)
        self._structure.width = width
        self._structure.gradients = gradients.ctypes.data


class NativeRows:
    """The kernels' functions; only where the kernels are loaded (see ``available``)."""

    def __init__(self) -> None:
        library = open_loaded_library()
        self._take, self._update = library.insightface_take_rows, library.insightface_update_rows
        self._take.argtypes = [_POINTER, _INT, _INT, _POINTER, _POINTER]
        self._update.argtypes = [_POINTER, _INT, _INT, _POINTER, _FLOAT, _FLOAT, _FLOAT, _POINTER, _POINTER]
        self._take.restype = self._update.restype = None

    @staticmethod
    def available() -> bool:
        """Return whether this process has the kernels."""
        return find_loaded_library() is not None

    def take(self, rows: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy the rows ``indices``, int64, of ``rows`` [N, ...] to the first of ``out`` [K, ...]; all float32."""
        width = _check(rows, indices, out)
        self._take(indices.ctypes.data, len(indices), width, rows.ctypes.data, out.ctypes.data)

    def update(
        self,
        rows: np.ndarray,
        momentum: np.ndarray,
        indices: np.ndarray,
        gradients: np.ndarray,
        rule: tuple[float, float, float],
    ) -> None:
        """Apply SGD with ``rule`` (lr, momentum, weight decay) to the different rows ``indices`` of both arrays."""
        width = _check(rows, indices, gradients, momentum)
        addresses = (array.ctypes.data for array in (rows, momentum))
        self._update(indices.ctypes.data, len(indices), width, gradients.ctypes.data, *rule, *addresses)


def _check(rows: np.ndarray, indices: np.ndarray, chosen: np.ndarray, *like: np.ndarray) -> int:
    """Return the numbers in a row; what is no row must not reach the C++, which writes where it is told to."""
    for array in (rows, chosen, *like):
        if array.dtype != np.float32 or not array.flags.c_contiguous or array.shape[1:] != rows.shape[1:]:
            raise ValueError(f"rows must be contiguous float32 of one width, not {array.dtype} {array.shape}")
    if any(len(array) != len(rows) for array in like) or len(chosen) < len(indices):
        raise ValueError("arrays of different lengths")
    if indices.dtype != np.int64 or not indices.flags.c_contiguous:
        raise ValueError(f"row numbers must be contiguous int64, not {indices.dtype}")
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(rows):
        raise IndexError(f"row numbers outside of 0..{len(rows) - 1}")
    return prod(rows.shape[1:])
