"""Decide whether NVIDIA's libraries are needed. Uses only the standard library, because the set-up calls it too."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from common.compiling import locate_program
from common.errors import UserError

SWITCH = "INSIGHTFACE_CUDA"
DRIVER_FOLDER = Path("/proc/driver/nvidia")
DRIVER_LIBRARY = "libcuda.so.1"


def reason_for_cuda() -> str | None:
    """Return the reason why OneFlow needs NVIDIA's libraries here, or None if stand-ins for them suffice.

    ``INSIGHTFACE_CUDA`` in the environment decides (1: needed, 0: not needed); if it is unset, an NVIDIA driver does.

    Raises:
        UserError: ``INSIGHTFACE_CUDA`` is not 0, 1 or empty.
    """
    switch = os.environ.get(SWITCH, "")
    if switch not in {"", "0", "1"}:
        raise UserError(f"{SWITCH}={switch} in the environment: expected 1 (CUDA libraries), 0 (none) or unset")
    if switch:
        return f"{SWITCH}=1" if switch == "1" else None
    driver = find_nvidia_driver()
    return f"NVIDIA driver found ({driver})" if driver else None


def find_nvidia_driver() -> str | None:
    """Return the folder or the library of the NVIDIA driver, or None without a driver."""
    if DRIVER_FOLDER.exists():
        return str(DRIVER_FOLDER)
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return None
    return DRIVER_LIBRARY


def find_stand_in_tools() -> tuple[str, str]:
    """Return the paths of a C compiler and of ``nm``, the tools that build stand-ins for the CUDA libraries.

    Raises:
        NativeUnavailableError: the compiler or ``nm`` is not in PATH.
    """
    return locate_program(("gcc", "cc", "clang"), "C compiler (gcc)"), locate_program(("nm",), "nm (binutils)")
