"""Check training and verification on GPUs against the CPU: ``python tools/check_gpu.py``.

Runs short trainings and a verification on a GPU and on the CPU with the same flags, and compares the numbers. Fails
without a GPU; ``--rehearse 1`` runs the same checks without one, with OneFlow's CPU kernels in place of the GPU.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError, lookup, run_command
from data.image import encode_jpeg
from data.sources.synthetic import SyntheticSource
from data.verification.bin_file import write_bin
from launch.devices import choose_device
from settings.option import parse_bool

ROOT = Path(__file__).resolve().parents[1]

STEPS = 4  # each step amplifies rounding differences about a hundredfold
_PAIRS = 20
_DATA = (
    "--use_synthetic_data 1 --num_classes 101 --total_img_num 400 --train_batch_size 8 --num_workers 1 --lr 0.0001 "
    "--loss_s 16 --network y1 --loss_print_frequency 1 --iter_num_in_snapshot 0 --lr_steps 1000 --seed 5"
)
_TAIL_LINES = 5
VERIFICATION = "verification"
_XNORM_ALLOWED = 1e-3
_REHEARSAL = ("--device", "cpu", "--native_ops", "0")
_NEEDS_GPU = ("mixed precision",)


@dataclass(frozen=True)
class Check:
    """A training run on the device under test and on the CPU with the same flags, equal up to rounding.

    Attributes:
        flags: flags of both runs.
        extra: flags of the device under test alone.
        allowed: the largest allowed relative difference of a step's loss.
        ranks: number of ranks of both runs.
        resumes: whether the device under test stops half-way and resumes from its snapshot.
    """

    flags: str
    extra: str = ""
    allowed: float = 1e-2
    ranks: int = 1
    resumes: bool = False


CHECKS = {
    "model parallel": Check("--loss arcface"),
    "replicated": Check("--loss arcface --model_parallel 0"),
    "partial fc": Check("--loss arcface --partial_fc 1 --sample_ratio 0.5"),
    "softmax, adamw": Check("--loss softmax --optimizer adamw --lr 0.001 --clip_gradient 5"),
    "adaface": Check("--loss adaface"),
    "accumulation": Check("--loss cosface --gradient_accumulation 2"),
    "mixed precision": Check("--loss arcface", extra="--use_fp16 1", allowed=5e-2),
    "resume": Check("--loss arcface", resumes=True),
    "two ranks": Check("--loss arcface", ranks=2),
    "two ranks, partial fc": Check("--loss arcface --partial_fc 1 --sample_ratio 0.5", ranks=2),
}


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


def compare_training(check: Check, device: Sequence[str], folder: Path) -> float:
    """Return the largest relative difference of a step's loss between the flags ``device`` and the CPU.

    Raises:
        UserError: a run failed; the message holds the end of its output.
    """
    flags = [*_DATA.split(), *check.flags.split(), "--device_num_per_node", str(check.ranks)]
    expected = _train([*flags, "--device", "cpu"], folder / "cpu", STEPS)
    tested = [*flags, *device, *check.extra.split(), "--save_last_snapshot", str(int(check.resumes))]
    if check.resumes:
        _train(tested, folder / "tested", STEPS // 2)
        tested += ["--resume", "1"]
    found = _train(tested, folder / "tested", STEPS)
    if len(found) != STEPS or len(expected) != STEPS:
        raise UserError(f"{len(found)} steps instead of {len(expected)} were logged below {folder}")
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


def compare_verification(device: Sequence[str], folder: Path) -> float:
    """Return the relative difference of XNorm when both verify the same snapshot on the same synthetic pairs.

    Raises:
        UserError: a run failed; the message holds the end of its output.
    """
    flags = ["--loss", "arcface", "--device", "cpu", "--save_last_snapshot", "1"]
    _train([*_DATA.split(), *flags], folder / "model", 1)
    snapshot = next((folder / "model").glob("models/*/snapshot_1"))
    source = SyntheticSource(2 * _PAIRS, 101, 112, 9)
    images = [encode_jpeg(source.read(i)[0]) for i in range(2 * _PAIRS)]
    write_bin(folder / "made_up.bin", images, [i % 2 == 0 for i in range(_PAIRS)])
    norms = []
    for name, where in (("cpu", ("--device", "cpu")), ("tested", tuple(device))):
        report = folder / name
        _run(
            "insightface_val.py",
            "--model_load_dir",
            str(snapshot),
            "--val_targets",
            "made_up",
            "--made_up_dataset_dir",
            str(folder / "made_up.bin"),
            "--log_dir",
            str(folder / "log"),
            "--report",
            str(report),
            "--device_num_per_node",
            "1",
            *where,
        )
        norms.append(json.loads((report / "report.json").read_text())["sets"]["made_up"]["xnorm"])
    return abs(norms[1] - norms[0]) / norms[0]


def _train(flags: Sequence[str], folder: Path, steps: int) -> list[float]:
    """Run a training and return the loss of every step."""
    places = ["--models_root", str(folder / "models"), "--log_dir", str(folder / "log"), "--train_iter", str(steps)]
    _run("insightface_train.py", *flags, *places)
    (metrics,) = folder.glob("log/*/metrics.jsonl")
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


def _run(*command: str) -> None:
    # Without TF32, a GPU rounds like the CPU.
    environment = {**os.environ, "ONEFLOW_EP_CUDA_ENABLE_TF32_EXECUTION": "0"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:]
        raise UserError(f"{' '.join(command)} failed (exit code {done.returncode}): {' | '.join(said)}")


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
