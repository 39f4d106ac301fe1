"""Decide whether the set-up installs NVIDIA's CUDA libraries; print "cuda: ..." or "light: ..." with the reason."""

from __future__ import annotations

import os
from importlib import metadata

from common.compiling import NativeUnavailableError
from common.cuda import SWITCH, find_stand_in_tools, reason_for_cuda
from common.errors import UserError, run_command

WHEEL = "nvidia-cudnn-cu11"


def choose() -> tuple[str, str]:
    """Return "cuda" or "light", and the reason.

    A light install replaces the libraries by stand-ins; it is for machines without an NVIDIA driver but with a C
    compiler to build the stand-ins. Installed libraries are kept unless ``INSIGHTFACE_CUDA=0`` is set: the environment
    may be shared with machines that have GPUs.

    Raises:
        UserError: ``INSIGHTFACE_CUDA=0`` is set without a C compiler, or ``INSIGHTFACE_CUDA`` is not 0, 1 or empty.
    """
    reason = reason_for_cuda()
    if reason:
        return "cuda", reason
    forced = os.environ.get(SWITCH) == "0"
    if not forced and _installed(WHEEL):
        return "cuda", "they are installed already"
    try:
        find_stand_in_tools()
    except NativeUnavailableError as missing:
        if forced:
            raise UserError(f"{SWITCH}=0 needs a C compiler and binutils: {missing}") from None
        return "cuda", str(missing)
    return "light", f"{SWITCH}=0" if forced else "no NVIDIA driver found"


def _installed(wheel: str) -> bool:
    try:
        metadata.distribution(wheel)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> None:
    """Print the choice in one line."""
    choice, reason = choose()
    if choice == "cuda":
        print(f"cuda: {reason}: install with the CUDA libraries ({SWITCH}=0 to do without them)")
    else:
        print(f"light: {reason}: light CPU install (set {SWITCH}=1 for the CUDA libraries)")


if __name__ == "__main__":
    run_command(main)
