"""bfloat16 in numpy, which lacks it: the upper halves of float32 numbers, under a dtype that names them."""

from __future__ import annotations

import numpy as np

# A structure of one field, so that no array of whole numbers is taken for one of bfloat16 numbers.
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
_EXPONENT = 0x7F80


def widen(array: np.ndarray) -> np.ndarray:
    """Return an array of dtype ``BFLOAT16`` as float32, which is exact; other arrays are returned as they are."""
    if array.dtype != BFLOAT16:
        return array
    bits = array["bfloat16"].astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def is_finite(array: np.ndarray) -> bool:
    """Return whether no number of ``array`` is NaN or infinite, for any float dtype and ``BFLOAT16``."""
    if array.dtype != BFLOAT16:
        return bool(np.isfinite(array).all())
    return not ((array["bfloat16"] & _EXPONENT) == _EXPONENT).any()
