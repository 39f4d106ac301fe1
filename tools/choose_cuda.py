"""Says whether the set-up installs NVIDIA's CUDA libraries: prints "cuda: ..." or "light: ...", with the reason."""

from __future__ import annotations

import os
from importlib import metadata

from common.compiling import NativeUnavailableError
from common.cuda import SWITCH, find_stand_in_tools, reason_for_cuda
from common.errors import UserError, run_command

WHEEL = "nvidia-cudnn-cu11"


def choose() -> tuple[str, str]:
    """Return "cuda" or "light", and why.

    Light, where stand-ins take the place of the libraries, is for machines without an NVIDIA driver but with a C
    compiler to make them. Libraries that are installed stay unless ``INSIGHTFACE_CUDA=0`` says otherwise: the machine
    that runs the set-up may share its environment with others that have GPUs.

    Raises:
        UserError: ``INSIGHTFACE_CUDA=0`` without a C compiler, or with a value that means nothing.
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
