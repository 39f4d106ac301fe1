"""The Python side of ``src/pool.cpp``: sums of the features of templates' images."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from common.compiling import NativeUnavailableError
from ops.search.kernel import address_of, build_library, default_cache

_POINTERS = ("features", "order", "factors", "media_begins", "template_begins", "sums")
_NUMBERS = ("images", "templates", "width")


class _Request(ctypes.Structure):
    """``PoolRequest`` of ``pool.cpp``."""

    _fields_ = (*((name, ctypes.c_void_p) for name in _POINTERS), *((name, ctypes.c_int64) for name in _NUMBERS))


class NativeTemplateSums:
    """Computes what ``evaluation.templates.pooling.sum_in_blocks`` computes, with the same bits,
    on the caller's thread and without Python's lock.

    Args:
        cache: folder of the built library.

    Raises:
        NativeUnavailableError: the library cannot be built or loaded.
    """

    def __init__(self, cache: Path | None = None) -> None:
        path = build_library(cache or default_cache())
        try:
            self._pool = ctypes.CDLL(str(path)).insightface_pool
        except OSError as error:
            raise NativeUnavailableError(str(error)) from error
        self._pool.argtypes, self._pool.restype = [ctypes.POINTER(_Request)], None

    def __call__(
        self,
        features: np.ndarray,
        order: np.ndarray,
        factors: np.ndarray,
        media_begins: np.ndarray,
        template_begins: np.ndarray,
    ) -> np.ndarray:
        """Return the sums, float32 [T, E]; the arguments are those of ``evaluation.templates.pooling.TemplateSums``.

        Raises:
            ValueError: an array has another type or shape, or a number is out of range.
        """
        medias, templates, width = len(media_begins) - 1, len(template_begins) - 1, features.shape[1]
        sums = np.empty((templates, width), np.float32)
        _require_begins(template_begins, medias)
        _require_begins(media_begins, len(order))
        if len(order) and not (order.min() >= 0 and order.max() < len(features)):
            raise ValueError("a row is out of range")
        request = _Request(images=len(order), templates=templates, width=width)
        request.features = address_of(features, np.float32, (len(features), width))
        request.order = address_of(order, np.int64, (len(order),))
        request.factors = address_of(factors, np.float32, (len(order),))
        request.media_begins = address_of(media_begins, np.int64, (medias + 1,))
        request.template_begins = address_of(template_begins, np.int64, (templates + 1,))
        request.sums = address_of(sums, np.float32, (templates, width))
        self._pool(ctypes.byref(request))
        return sums


def _require_begins(begins: np.ndarray, count: int) -> None:
    """Check that groups follow each other and end at ``count``."""
    if begins[0] != 0 or begins[-1] != count or (np.diff(begins) < 1).any():
        raise ValueError("the groups must follow each other and have members")
