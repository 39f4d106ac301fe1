"""Widens, rounds and updates rows of a large bfloat16 array: the Python side of ``class_rows/bfloat16_rows.h``."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from common.bfloat16 import BFLOAT16
from ops.native.loader import open_loaded_library
from ops.native.rows import check_rows

_INT, _UINT, _FLOAT, _POINTER = ctypes.c_int64, ctypes.c_uint64, ctypes.c_float, ctypes.c_void_p
ROW_ARRAYS = {"weight": 0, "momentum": 1, "variance": 2}  # RowArray in random_rounding.h


@dataclass(frozen=True)
class RowDraws:
    """What the random rounding of an array depends on, beside row and column.

    Attributes:
        seed: of the run, 0 to 2^64 - 1.
        step: number of the update, from 1; 0 for values that come from elsewhere: initial ones, and those of a file.
        first_row: number of the array's first row among those of all ranks.
    """

    seed: int
    step: int
    first_row: int


class NativeBFloat16Rows:
    """Functions of the kernels for rows of dtype ``BFLOAT16`` on all threads; requires loaded kernels.

    Row numbers are int64 and distinct. Values outside the array are float32, and what is stored is rounded at random
    (``class_rows/random_rounding.h``), which leaves numbers that bfloat16 can hold as they are.
    """

    def __init__(self) -> None:
        library = open_loaded_library()
        self._widen, self._round = library.insightface_widen_rows, library.insightface_round_rows
        self._update = library.insightface_update_bfloat16_rows
        rows, draws = [_POINTER, _INT, _INT, _POINTER], [_UINT, _UINT, _INT]
        self._widen.argtypes = [*rows, _POINTER]
        self._round.argtypes = [*rows, *draws, _UINT, _POINTER]
        self._update.argtypes = [*rows, _FLOAT, _FLOAT, _FLOAT, *draws, _POINTER, _POINTER]
        self._widen.restype = self._round.restype = self._update.restype = None

    def widen(self, rows: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy the rows ``indices`` of ``rows`` [N, E] to the first rows of ``out``, float32 [K, E]."""
        width = check_rows(rows, indices, out, dtype=BFLOAT16)
        self._widen(indices.ctypes.data, len(indices), width, rows.ctypes.data, out.ctypes.data)

    def round(self, values: np.ndarray, rows: np.ndarray, indices: np.ndarray, draws: RowDraws, array: str) -> None:
        """Set the rows ``indices`` of ``rows`` [N, E], which is ``array`` of ``ROW_ARRAYS``, to ``values`` [K, E]."""
        width = check_rows(rows, indices, values, dtype=BFLOAT16)
        numbers = (draws.seed, draws.step, draws.first_row, ROW_ARRAYS[array])
        self._round(indices.ctypes.data, len(indices), width, values.ctypes.data, *numbers, rows.ctypes.data)

    def update(
        self,
        rows: np.ndarray,
        momentum: np.ndarray,
        indices: np.ndarray,
        gradients: np.ndarray,
        rule: tuple[float, float, float],
        draws: RowDraws,
    ) -> None:
        """Apply SGD with ``rule`` (lr, momentum, weight decay) to the rows ``indices`` of both arrays."""
        width = check_rows(rows, indices, gradients, momentum, dtype=BFLOAT16)
        numbers = (*rule, draws.seed, draws.step, draws.first_row)
        addresses = (array.ctypes.data for array in (rows, momentum))
        self._update(indices.ctypes.data, len(indices), width, gradients.ctypes.data, *numbers, *addresses)
