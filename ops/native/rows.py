"""Selects, updates and refers to rows of a large float32 array: the Python side of ``ops/native/src/class_rows``."""

from __future__ import annotations

import ctypes
from math import prod

import numpy as np

from common.bfloat16 import BFLOAT16
from ops.native.loader import loaded_library_path, open_loaded_library

_INT, _FLOAT, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
_FLOAT32 = np.dtype(np.float32)


class _Structure(ctypes.Structure):
    """``RowsHandle`` of ``class_rows/row_products.h``."""

    _fields_ = (
        ("matrix", _POINTER),
        ("indices", _POINTER),
        ("count", _INT),
        ("width", _INT),
        ("is_bfloat16", _INT),
        ("gradients", _POINTER),
    )


class RowsHandle:
    """The rows of a float32 or bfloat16 array that a graph computes with in place, and the array for their gradients.

    The graph holds the address of this handle, in a float64 tensor with one element per rank. A double holds every
    address exactly (they have 48 bits), and unlike an integer tensor it can have a gradient. That gradient is a zero
    that only orders execution: it exists once the backward op has written the rows' gradients to ``gradients``. The
    handle keeps itself and its arrays in place as long as a graph may use them.

    Attributes:
        address: of the structure that the ops read; constant for the life of the handle.
    """

    def __init__(self) -> None:
        self._structure = _Structure()
        self._arrays: tuple[np.ndarray | None, ...] = ()
        self.address = ctypes.addressof(self._structure)

    def set(self, rows: np.ndarray, indices: np.ndarray, gradients: np.ndarray | None) -> None:
        """Point to the rows ``indices``, int64, ascending, of ``rows`` [N, E] and to ``gradients`` [K, E], K >= rows.

        ``rows`` is float32 or ``BFLOAT16``. Rows that never change have no ``gradients``: no graph may ask for them.

        Raises:
            ValueError: an array is not contiguous float32 (``indices``: int64) of the same row width, or too short.
            IndexError: a row number is not in ``rows``.
        """
        is_bfloat16 = rows.dtype == BFLOAT16
        width = check_rows(rows, indices, gradients, dtype=BFLOAT16 if is_bfloat16 else _FLOAT32)
        consecutive = len(indices) > 0 and indices[0] == 0 and indices[-1] == len(indices) - 1
        self._arrays = (rows, indices, gradients)  # keeps them alive
        self._structure.matrix = rows.ctypes.data
        self._structure.indices = None if consecutive else indices.ctypes.data
        self._structure.count = len(indices)
        self._structure.width = width
        self._structure.is_bfloat16 = is_bfloat16
        self._structure.gradients = None if gradients is None else gradients.ctypes.data


class NativeRows:
    """Functions of the kernels that copy and update rows on all threads; requires loaded kernels (``available``)."""

    def __init__(self) -> None:
        library = open_loaded_library()
        self._select, self._update = library.insightface_select_rows, library.insightface_update_rows
        self._select.argtypes = [_POINTER, _INT, _INT, _POINTER, _POINTER]
        self._update.argtypes = [_POINTER, _INT, _INT, _POINTER, _FLOAT, _FLOAT, _FLOAT, _POINTER, _POINTER]
        self._read_ahead = library.insightface_read_rows_ahead
        self._read_ahead.argtypes = [_POINTER, _INT, _INT, _POINTER]
        self._select.restype = self._update.restype = self._read_ahead.restype = None

    @staticmethod
    def available() -> bool:
        """Return whether this process has the kernels."""
        return loaded_library_path() is not None

    def select(self, rows: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy the rows ``indices``, int64, of ``rows`` [N, ...] to the first rows of ``out`` [K, ...]; all float32."""
        width = check_rows(rows, indices, out)
        self._select(indices.ctypes.data, len(indices), width, rows.ctypes.data, out.ctypes.data)

    def update(
        self,
        rows: np.ndarray,
        momentum: np.ndarray,
        indices: np.ndarray,
        gradients: np.ndarray,
        rule: tuple[float, float, float],
    ) -> None:
        """Apply SGD with ``rule`` (lr, momentum, weight decay) to the distinct rows ``indices`` of both arrays."""
        width = check_rows(rows, indices, gradients, momentum)
        addresses = (array.ctypes.data for array in (rows, momentum))
        self._update(indices.ctypes.data, len(indices), width, gradients.ctypes.data, *rule, *addresses)

    def read_ahead(self, rows: np.ndarray, indices: np.ndarray) -> None:
        """Begin to read the rows ``indices``, int64, ascending, of ``rows`` in a mapped file into memory.

        Without waiting for them: many are read from the disk at a time, where touching them reads one after the other.
        ``rows`` [N, ...] has any type.
        """
        check_indices(indices, len(rows))
        if len(indices):
            self._read_ahead(indices.ctypes.data, len(indices), rows[:1].nbytes, rows.ctypes.data)


def check_rows(
    rows: np.ndarray, indices: np.ndarray, selected: np.ndarray | None, *like: np.ndarray, dtype: np.dtype = _FLOAT32
) -> int:
    """Return the number of values per row, or raise: the C++ code itself checks no bounds.

    ``rows`` and the arrays ``like`` it are of ``dtype``, the ``selected`` rows, if there are any, float32.

    Raises:
        ValueError: an array has another type or layout, or does not fit the others.
        IndexError: a row number is not in ``rows``.
    """
    own = [] if selected is None else [(selected, _FLOAT32)]
    for array, wanted in ((rows, dtype), *own, *((each, dtype) for each in like)):
        if array.dtype != wanted or not array.flags.c_contiguous or array.shape[1:] != rows.shape[1:]:
            kind = "bfloat16" if wanted == BFLOAT16 else wanted
            raise ValueError(f"rows must be contiguous {kind} of one width, not {array.dtype} {array.shape}")
    if any(len(array) != len(rows) for array in like) or (selected is not None and len(selected) < len(indices)):
        raise ValueError("arrays of different lengths")
    check_indices(indices, len(rows))
    return prod(rows.shape[1:])


def check_indices(indices: np.ndarray, count: int) -> None:
    """Check numbers of rows.

    Raises:
        ValueError: they are not contiguous int64.
        IndexError: a number is not in 0..``count`` - 1.
    """
    if indices.dtype != np.int64 or not indices.flags.c_contiguous:
        raise ValueError(f"row numbers must be contiguous int64, not {indices.dtype}")
    if len(indices) and not 0 <= indices.min() <= indices.max() < count:
        raise IndexError(f"row numbers outside of 0..{count - 1}")
