"""bfloat16 in plain numpy: widening, and the random rounding of class rows, written from its description alone."""

from __future__ import annotations

import numpy as np

_MASK_64, _MASK_32 = (1 << 64) - 1, (1 << 32) - 1
ARRAYS = {"weight": 0, "momentum": 1, "variance": 2}


def _mix(key: int, number: int) -> int:
    """splitmix64 of Steele, Lea and Flood, OOPSLA 2014."""
    key = ((key ^ number) + 0x9E3779B97F4A7C15) & _MASK_64
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return key ^ (key >> 31)


def draw_bits(seed: int, step: int, row: int, array: str, width: int) -> np.ndarray:
    """Return the 16 random bits of each number of a row, uint32 [width]; ``row`` counts from the first of all ranks."""
    key = 0
    for number in (seed, step, row, ARRAYS[array]):
        key = _mix(key, number)
    numbers = np.arange(width, dtype=np.uint64) * 0x9E3779B9 + (key & _MASK_32)
    numbers &= _MASK_32
    numbers = ((numbers ^ (numbers >> 16)) * 0x7FEB352D + (key >> 32)) & _MASK_32
    numbers = ((numbers ^ (numbers >> 15)) * 0x846CA68B) & _MASK_32
    return ((numbers ^ (numbers >> 16)) >> 16).astype(np.uint32)


def round_rows(values: np.ndarray, rows: np.ndarray, array: str, seed: int, step: int) -> np.ndarray:
    """Return ``values``, float32 [K, E], rounded to bfloat16 as the rows of these numbers, as uint16 bits."""
    draws = np.stack([draw_bits(seed, step, int(row), array, values.shape[1]) for row in rows])
    return ((values.view(np.uint32).astype(np.uint64) + draws) >> 16).astype(np.uint16)


def widen_bits(bits: np.ndarray) -> np.ndarray:
    """Return bfloat16 numbers, uint16 bits, as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
