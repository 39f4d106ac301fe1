"""Corrections of OneFlow 0.9 itself: functions in C that stand in front of its own.

``launch_order.c`` keeps it from crashing when a graph ends before its start was noted, ``patient_scheduler.c`` from
keeping a core busy while a graph runs, ``first_connection.c`` from sleeping ten seconds when several ranks start; each
file says how.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from pathlib import Path

from common.compiling import NativeUnavailableError, build_once, find_program, run_tool

SOURCES = Path(__file__).parent
LIBRARY_NAME = "libcorrections.so"
COMPILERS = ("cc", "gcc", "g++", "c++")
COMPILE_FLAGS = ("-x", "c", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-pthread")


def default_cache() -> Path:
    """Return the folder inside the running Python environment that keeps the built library."""
    return Path(sys.prefix) / "var" / "insightface-corrections"


def load_corrections(cache: Path | None = None) -> bool:
    """Put the corrected functions in front of OneFlow's; to be called before OneFlow is imported.

    Returns:
        Whether they could be built and loaded. Without them OneFlow works, more slowly and at a small risk.
    """
    try:
        ctypes.CDLL(str(build_library(cache or default_cache())), mode=ctypes.RTLD_GLOBAL)
    except (NativeUnavailableError, OSError):
        return False
    return True


def build_library(cache: Path) -> Path:
    """Return the compiled library, built unless ``cache`` holds it already.

    Raises:
        NativeUnavailableError: no C compiler is in PATH, it failed, or ``cache`` cannot be written.
    """
    files = sorted(path for path in SOURCES.iterdir() if path.suffix in {".c", ".h"})
    digest = hashlib.sha256("\n".join(COMPILE_FLAGS).encode())
    for path in files:
        digest.update(path.read_bytes())

    def build(compiler: str, folder: Path) -> None:
        sources = [str(path) for path in files if path.suffix == ".c"]
        run_tool([compiler, *COMPILE_FLAGS, *sources, "-o", str(folder / LIBRARY_NAME), "-ldl"])

    key = digest.hexdigest()[:16]
    return build_once(key, cache, lambda: find_program(COMPILERS, "C compiler"), build) / LIBRARY_NAME
