"""Check training and verification on GPUs against the CPU: ``python tools/check_gpu.py``.

Runs short trainings and a verification on a GPU and on the CPU with the same flags, and compares the numbers. Fails
without a GPU; ``--rehearse 1`` runs the same checks without one, with OneFlow's CPU kernels in place of the GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from common.errors import UserError, lookup, run_command
from launch.devices import choose_device
from settings.options import parse_bool
from tools.gpu_checks import CHECKS, compare_training, compare_verification

VERIFICATION = "verification"
_XNORM_ALLOWED = 1e-3
_REHEARSAL = ("--device", "cpu", "--native_ops", "0")
_NEEDS_GPU = ("mixed precision",)


def count_gpus() -> int:
    """Return the number of GPUs.

    Raises:
        UserError: there is no GPU.
    """
    settings = {"device": "auto", "device_num_per_node": 0, "use_bf16": False, "native_ops": True}
    device, gpus = choose_device(settings)
    if device != "cuda":
        raise UserError(
            "no GPU found (nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them), so nothing was checked; "
            "use --rehearse 1 to run the checks on the CPU alone"
        )
    return gpus


def check(name: str, device: tuple[str, ...], folder: Path) -> bool:
    """Run one check, print its line and return whether it passed."""
    try:
        if name == VERIFICATION:
            difference, allowed = compare_verification(device, folder), _XNORM_ALLOWED
        else:
            difference, allowed = compare_training(CHECKS[name], device, folder), CHECKS[name].allowed
    except UserError as error:
        print(f"{name:<24}{'failed':>12}  {error}", flush=True)
        return False
    passed = difference <= allowed
    print(f"{name:<24}{difference:>12.2e}{allowed:>12.0e}  {'passed' if passed else 'FAILED'}", flush=True)
    return passed


def main() -> int:
    """Run the checks that the machine supports and return the exit code.

    Raises:
        UserError: a check failed, or there is no GPU and no ``--rehearse 1``.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", type=parse_bool, nargs="?", const=True, default=False, help="on the CPU alone")
    parser.add_argument("--only", default="", help="names of checks, separated by semicolons")
    args = parser.parse_args()
    gpus = 0 if args.rehearse else count_gpus()
    names = [name.strip() for name in args.only.split(";") if name.strip()] or [*CHECKS, VERIFICATION]
    for name in names:
        lookup({**CHECKS, VERIFICATION: None}, name, "check")
    where = "OneFlow's own CPU kernels; NO GPU IS CHECKED" if args.rehearse else f"{gpus} GPU(s)"
    print(f"compared with the CPU: {where}\n{'check':<24}{'difference':>12}{'allowed':>12}", flush=True)
    device = _REHEARSAL if args.rehearse else ("--device", "cuda")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            ranks = 1 if name == VERIFICATION else CHECKS[name].ranks
            if (args.rehearse and name in _NEEDS_GPU) or (not args.rehearse and ranks > gpus):
                print(f"{name:<24}{'skipped':>12}  needs {ranks} GPU(s)", flush=True)
            elif not check(name, device, Path(folder) / name.replace(" ", "_")):
                failed += 1
    if failed:
        raise UserError(f"{failed} of {len(names)} checks failed")
    return 0


if __name__ == "__main__":
    run_command(main)
