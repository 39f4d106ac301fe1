"""The Python side of ``src/search.cpp``: builds the library on first use and hands arrays to it."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from pathlib import Path

import numpy as np

from common.compiling import NativeUnavailableError, build_once, run_tool
from common.workers import available_cpus
from ops.native.build import LEVELS
from ops.native.requirements import locate_compiler

SOURCES = Path(__file__).parent / "src"
SHARED = Path(__file__).parents[1] / "native" / "src"
SHARED_FILES = ("base/instruction_sets.cpp", "base/instruction_sets.h")
LIBRARY_NAME = "libinsightface_search.so"
COMPILE_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra")

_INT, _POINTER = ctypes.c_int64, ctypes.c_void_p


class _Request(ctypes.Structure):
    """``SearchRequest`` of ``search.cpp``."""

    _fields_ = (
        *((name, _POINTER) for name in ("probes", "gallery")),
        *((name, _INT) for name in ("probe_count", "gallery_count", "width", "first_number", "threads", "k")),
        *((name, _POINTER) for name in ("best_scores", "best_numbers", "thresholds", "offsets", "reached")),
        ("steps", _INT),
        *((name, _POINTER) for name in ("histogram", "scores")),
    )


def default_cache() -> Path:
    """Return the folder inside the running Python environment that keeps the built library."""
    return Path(sys.prefix) / "var" / "insightface-search"


def build_library(cache: Path) -> Path:
    """Return the compiled library; build it if ``cache`` does not contain it.

    Raises:
        NativeUnavailableError: no C++ compiler is in PATH, it failed, or ``cache`` cannot be written.
    """
    files = sorted(path for path in SOURCES.iterdir() if path.suffix in {".cpp", ".h"})
    digest = hashlib.sha256("\n".join((*COMPILE_FLAGS, *map(str, LEVELS.values()))).encode())
    for path in (*files, *(SHARED / name for name in SHARED_FILES)):
        digest.update(f"\n{path.name}\n".encode() + path.read_bytes())

    def build(compiler: str, folder: Path) -> None:
        start = [compiler, *COMPILE_FLAGS, f"-I{SOURCES}", f"-I{SHARED}"]
        objects: list[str] = []
        sources = [(path, "", ()) for path in files if path.suffix == ".cpp" and ".simd." not in path.name]
        sources.append((SHARED / SHARED_FILES[0], "", ()))
        for path in files:
            if path.name.endswith(".simd.cpp"):
                for level, flags in LEVELS.items():
                    sources.append((path, level, (*flags, f"-DINSIGHTFACE_LEVEL={level}")))
        for path, level, flags in sources:
            objects.append(str(folder / f"{path.name}.{level}.o"))
            run_tool([*start, *flags, "-c", str(path), "-o", objects[-1]])
        run_tool([compiler, "-shared", "-fopenmp", *objects, "-o", str(folder / LIBRARY_NAME)])
        for name in objects:
            Path(name).unlink()

    return build_once(digest.hexdigest()[:16], cache, locate_compiler, build) / LIBRARY_NAME


class NativeScoreKernel:
    """Computes dot products of probes and gallery rows on all cores and keeps only what is asked for.

    It has the method of ``evaluation.search.numpy_kernel.NumpyScoreKernel``, and gives equal scores to equal rows.

    Args:
        threads: by default, the CPUs that the process may use.
        cache: folder of the built library.

    Raises:
        NativeUnavailableError: the library cannot be built or loaded.
    """

    def __init__(self, threads: int = 0, cache: Path | None = None) -> None:
        path = build_library(cache or default_cache())
        try:
            self._search = ctypes.CDLL(str(path)).insightface_search
        except OSError as error:
            raise NativeUnavailableError(str(error)) from error
        self._search.argtypes, self._search.restype = [ctypes.POINTER(_Request)], ctypes.c_int
        self._threads = threads or available_cpus()

    def scan(
        self,
        probes: np.ndarray,
        gallery: np.ndarray,
        first_number: int = 0,
        best: tuple[np.ndarray, np.ndarray] | None = None,
        thresholds: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        histogram: np.ndarray | None = None,
        scores: np.ndarray | None = None,
    ) -> None:
        """Score probes with a gallery, with the arguments of ``evaluation.search.kernel.ScoreKernel.scan``.

        Raises:
            ValueError: an array has another type or shape.
            MemoryError: the packed rows do not fit into memory.
        """
        count, width = probes.shape
        request = _Request(probe_count=count, gallery_count=len(gallery), width=width)
        request.first_number, request.threads = first_number, self._threads
        request.probes = address_of(probes, np.float32, (count, width))
        request.gallery = address_of(gallery, np.float32, (len(gallery), width))
        if best is not None:
            request.k = best[0].shape[1]
            request.best_scores = address_of(best[0], np.float32, (count, request.k))
            request.best_numbers = address_of(best[1], np.int64, (count, request.k))
        if thresholds is not None:
            request.thresholds = address_of(thresholds[0], np.float32, thresholds[0].shape)
            request.offsets = address_of(thresholds[1], np.int64, (count + 1,))
            request.reached = address_of(thresholds[2], np.int64, thresholds[0].shape)
            if thresholds[1][0] != 0 or thresholds[1][-1] != len(thresholds[0]) or (np.diff(thresholds[1]) < 0).any():
                raise ValueError("the probes' thresholds must follow each other")
        if histogram is not None:
            request.steps = len(histogram) // 2
            request.histogram = address_of(histogram, np.int64, (2 * request.steps + 1,))
        if scores is not None:
            request.scores = address_of(scores, np.float32, (count, len(gallery)))
        if count and len(gallery) and self._search(ctypes.byref(request)):
            raise MemoryError("no memory for the packed rows")


def address_of(array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> int:
    """Return the address of an array, or raise: the C++ code itself checks nothing."""
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"expected contiguous {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}")
    return array.ctypes.data
