"""What the user and the machine say about CUDA. Needs nothing but Python, so that the set-up can ask as well."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from common.compiling import find_program
from common.errors import UserError

SWITCH = "INSIGHTFACE_CUDA"
DRIVER_FOLDER = Path("/proc/driver/nvidia")
DRIVER_LIBRARY = "libcuda.so.1"


def reason_for_cuda() -> str | None:
    """Return why OneFlow must have NVIDIA's own libraries here, or None where stand-ins for them may be used.

    ``INSIGHTFACE_CUDA`` in the environment decides (1: must have, 0: need not); unset, an NVIDIA driver does.

    Raises:
        UserError: ``INSIGHTFACE_CUDA`` has another value.
    """
    switch = os.environ.get(SWITCH, "")
    if switch not in {"", "0", "1"}:
        raise UserError(f"{SWITCH}={switch} in the environment: expected 1 (CUDA libraries), 0 (none) or nothing")
    if switch:
        return f"{SWITCH}=1" if switch == "1" else None
    driver = find_nvidia_driver()
    return f"NVIDIA driver found ({driver})" if driver else None


def find_nvidia_driver() -> str | None:
    """Return what shows that an NVIDIA driver is there (its folder or its library), or None."""
    if DRIVER_FOLDER.exists():
        return str(DRIVER_FOLDER)
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return None
    return DRIVER_LIBRARY


def find_stand_in_tools() -> tuple[str, str]:
    """Return the paths of a C compiler and of ``nm``, with which stand-ins for the CUDA libraries are made.

    Raises:
        NativeUnavailableError: one of them is not in PATH.
    """
    return find_program(("gcc", "cc", "clang"), "C compiler (gcc)"), find_program(("nm",), "nm (binutils)")
