"""Patches of OneFlow 0.9: functions in C that override its own.

Without ``launch_order.c`` OneFlow may crash if a graph ends before its start is recorded, without
``patient_scheduler.c`` it keeps a core busy while a graph runs, and without ``first_connection.c`` it sleeps for ten
seconds when several ranks start. Each file explains how.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from pathlib import Path

from common.compiling import NativeUnavailableError, build_once, locate_program, run_tool

SOURCES = Path(__file__).parent
LIBRARY_NAME = "libcorrections.so"
COMPILERS = ("cc", "gcc", "g++", "c++")
COMPILE_FLAGS = ("-x", "c", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-pthread")


def default_cache() -> Path:
    """Return the cache folder of the built library, inside the running Python environment."""
    return Path(sys.prefix) / "var" / "insightface-corrections"


def load_corrections(cache: Path | None = None) -> bool:
    """Override OneFlow's functions with the patched ones. Call it before OneFlow is imported.

    Returns:
        Whether the patches could be built and loaded. Without them OneFlow works, but more slowly and at a small risk.
    """
    try:
        ctypes.CDLL(str(build_library(cache or default_cache())), mode=ctypes.RTLD_GLOBAL)
    except (NativeUnavailableError, OSError):
        return False
    return True


def build_library(cache: Path) -> Path:
    """Return the compiled library; build it if ``cache`` does not contain it.

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
    return build_once(key, cache, lambda: locate_program(COMPILERS, "C compiler"), build) / LIBRARY_NAME
