"""Loads the kernels into the process, or says in one line why OneFlow's own kernels stay."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

from ops.native.build import LIBRARY_NAME, build_library, default_cache
from ops.native.requirements import NativeUnavailableError, locate_onednn, locate_oneflow

SWITCH = "INSIGHTFACE_NATIVE"
_WAIT_MILLISECONDS = 500  # short enough for Ctrl-C
OPS = (
    "conv2d",
    "conv_data_grad",
    "conv_filter_grad",
    "prelu",
    "prelu_grad",
    "normalization",
    "normalization_grad",
    "matmul",
    "l2_normalize",
    "l2_normalize_grad",
    "insightface_row_products",
    "insightface_row_products_grad",
    "broadcast_sub",
    "broadcast_div",
    "reduce_max_device_stage",
    "insightface_network_forward",
    "insightface_network_backward",
    "insightface_network_inference",
)


def load_native_kernels(cache: Path | None = None) -> str:
    """Build the kernels if needed, load them, and return one line that says which kernels the process now has.

    Call it right after ``import oneflow`` and before the first op: eager ops keep the kernel that they used first.
    ``INSIGHTFACE_NATIVE=0`` in the environment keeps OneFlow's kernels. The size of the thread team is
    ``OMP_NUM_THREADS``. Further calls in the same process have no effect.

    Args:
        cache: folder of built kernels; by default one inside the Python environment.

    Raises:
        RuntimeError: OneFlow has not been imported.
    """
    if os.environ.get(SWITCH) == "0":
        return f"CPU kernels: OneFlow's own ({SWITCH}=0)"
    if "oneflow" not in sys.modules:
        raise RuntimeError("the kernels are loaded into OneFlow; import oneflow first")
    try:
        onednn = locate_onednn()
        if loaded_library_path() is not None:
            # OneFlow rejects a second copy: it would register every kernel twice.
            return f"CPU kernels: oneDNN {onednn.version}"
        library = build_library(locate_oneflow(), onednn, cache or default_cache())
        # Loaded first, by its full path: the kernels then find it in its wheel.
        ctypes.CDLL(str(onednn.library))
        ctypes.CDLL(str(library))
    except (NativeUnavailableError, OSError) as error:
        return f"CPU kernels: OneFlow's own, slower ones; the faster ones are not available: {error}"
    return f"CPU kernels: oneDNN {onednn.version}"


def native_calls() -> dict[str, int]:
    """Return how often the loaded kernels have computed each op; empty if no kernels are loaded."""
    if loaded_library_path() is None:
        return {}
    return {op: count_calls(op) for op in OPS}


def count_calls(op: str) -> int:
    """Return how often the loaded kernel of ``op`` has finished in this process."""
    count = open_loaded_library().insightface_native_calls
    count.argtypes, count.restype = [ctypes.c_char_p], ctypes.c_int64
    return count(op.encode())


def wait_for_call(op: str, calls: int) -> None:
    """Sleep until the loaded kernel of ``op`` has finished more than ``calls`` times in this process.

    OneFlow waits for results by spinning, which would keep a core busy that the kernel needs.
    """
    wait = open_loaded_library().insightface_wait_for_calls
    wait.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64]
    while not wait(op.encode(), calls + 1, _WAIT_MILLISECONDS):
        pass


@functools.cache
def open_loaded_library() -> ctypes.CDLL:
    """Return the loaded library of the kernels.

    Raises:
        RuntimeError: the kernels are not loaded.
    """
    path = loaded_library_path()
    if path is None:
        raise RuntimeError("the CPU kernels are not loaded")
    return ctypes.CDLL(path)


def kernels_are_loaded() -> bool:
    """Return whether this process has the kernels; once it has them, without looking again."""
    try:
        open_loaded_library()
    except RuntimeError:
        return False
    return True


def loaded_library_path() -> str | None:
    """Return the path of the kernels' library in this process, or None if it is not loaded."""
    for line in Path("/proc/self/maps").read_text(errors="surrogateescape").split("\n"):  # names may have any bytes
        if line.endswith(f"/{LIBRARY_NAME}"):
            return line[line.index("/") :]
    return None
