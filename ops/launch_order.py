"""Keeps OneFlow 0.9 from crashing when a graph ends before its start was noted; ``launch_order.c`` says how."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from pathlib import Path

from common.compiling import NativeUnavailableError, find_program, locked, run_tool

SOURCE = Path(__file__).with_suffix(".c")
COMPILERS = ("cc", "gcc", "g++", "c++")
COMPILE_FLAGS = ("-x", "c", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-pthread")


def default_cache() -> Path:
    """Return the folder inside the running Python environment that keeps the built library."""
    return Path(sys.prefix) / "var" / "insightface-launch-order"


def load_launch_order(cache: Path | None = None) -> bool:
    """Put the corrected functions in front of OneFlow's; to be called before OneFlow is imported.

    Returns:
        Whether they could be built and loaded. Without them OneFlow works, but for a small risk on busy machines.
    """
    try:
        ctypes.CDLL(str(build_library(cache or default_cache())), mode=ctypes.RTLD_GLOBAL)
    except (NativeUnavailableError, OSError):
        return False
    return True


def build_library(cache: Path) -> Path:
    """Return the compiled library, building it if ``cache`` does not hold it yet.

    Raises:
        NativeUnavailableError: no compiler, or it failed.
        OSError: the cache cannot be written.
    """
    key = hashlib.sha256(SOURCE.read_bytes() + "\n".join(COMPILE_FLAGS).encode()).hexdigest()[:16]
    library = cache / key / "liblaunch_order.so"
    if not library.is_file():
        compiler = find_program(COMPILERS, "C compiler")
        library.parent.mkdir(parents=True, exist_ok=True)
        with locked(library.parent / "lock"):
            if not library.is_file():
                partial = library.with_suffix(".partial")
                run_tool([compiler, *COMPILE_FLAGS, str(SOURCE), "-o", str(partial), "-ldl"])
                os.replace(partial, library)
    return library
