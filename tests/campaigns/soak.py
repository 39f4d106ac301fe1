"""Train for long and watch what must stay as it is: ``python -m tests.campaigns.soak --steps 20000``.

A tiny network with Partial FC, a worker process, snapshots, verification, metrics and TensorBoard. Prints memory, open
files, threads and processor time of a step, over all processes, and ends with code 1 if one of them grows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import run_command
from tests.campaigns.processes import Command, marked_processes
from tests.campaigns.small_runs import training, verification, write_sets

_MEMORY, _SPEED = 0.02, 0.1  # how much each may grow
_KEPT = 3  # snapshots that are left on the disk
_WARM = 0.1  # share of the steps before the comparison begins
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """All processes of the run at one moment.

    Attributes:
        step: the last one in the metrics.
        seconds: since the start.
        memory: resident bytes without pages of files.
        files: open descriptors.
        threads: how many.
        processor: seconds of processor time so far.
    """

    step: int
    seconds: float
    memory: int
    files: int
    threads: int
    processor: float


def _fields(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def take_sample(command: Command, metrics: Path) -> Sample:
    """Return what the processes of ``command`` take now."""
    memory = files = threads = ticks = 0
    for pid in marked_processes(command.mark):
        with contextlib.suppress(OSError, KeyError, IndexError):
            status = _fields(pid)
            times = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            memory += sum(int(status[name].split()[0]) << 10 for name in ("RssAnon", "RssShmem"))
            files += len(os.listdir(f"/proc/{pid}/fd"))
            threads += int(status["Threads"])
            ticks += int(times[11]) + int(times[12])
    step = 0
    if metrics.is_file():
        step = next((n for n in map(_step, reversed(metrics.read_bytes().splitlines()[-5:])) if n), 0)
    return Sample(step, time.monotonic() - command.began, memory, files, threads, ticks / _TICKS)


def _step(line: bytes) -> int:
    try:
        return int(json.loads(line)["step"])
    except ValueError:  # it is being written
        return 0


def remove_old_snapshots(models: Path) -> None:
    """Keep the newest snapshots alone, so that a long run needs no large disk."""
    for folder in models.glob("*"):
        found = sorted(folder.glob("snapshot_*"), key=lambda path: int(path.name.removeprefix("snapshot_")))
        for old in found[:-_KEPT]:
            shutil.rmtree(old)


def judge(samples: Sequence[Sample], steps: int) -> list[str]:
    """Return what grew between the steps after the warm-up and the last ones, one line each; an empty list if nothing.

    Both ends are the samples of a tenth of the run, of which the median counts.
    """
    first = [s for s in samples if _WARM * steps <= s.step < 2 * _WARM * steps]
    last = [s for s in samples if s.step >= (1 - _WARM) * steps]
    if len(first) < 2 or len(last) < 2:
        return ["too few samples; train for more steps, or take them more often with --every"]
    faults = []
    for name, limit in (("memory", _MEMORY), ("files", 0.0), ("threads", 0.0)):
        before, after = (statistics.median(getattr(sample, name) for sample in own) for own in (first, last))
        if after > before * (1 + limit):
            faults.append(f"{name} grew from {before:.0f} to {after:.0f}")
    before, after = (
        (own[-1].processor - own[0].processor) / max(own[-1].step - own[0].step, 1) for own in (first, last)
    )
    if after > before * (1 + _SPEED):
        faults.append(f"processor time of a step grew from {before * 1000:.1f} to {after * 1000:.1f} ms")
    return faults


def table(samples: Sequence[Sample], steps: int) -> str:
    """Return ten lines of the curve."""
    lines = [
        "| step | memory, MB | open files | threads | processor time of a step, ms | time of a step, ms |",
        "|---" * 6 + "|",
    ]
    chosen = [next((s for s in samples if s.step >= part * steps / 10), samples[-1]) for part in range(11)]
    for before, sample in zip(chosen, chosen[1:], strict=False):
        count = max(sample.step - before.step, 1)
        lines.append(
            f"| {sample.step} | {sample.memory / 1e6:.1f} | {sample.files} | {sample.threads} "
            f"| {1000 * (sample.processor - before.processor) / count:.1f} "
            f"| {1000 * (sample.seconds - before.seconds) / count:.1f} |"
        )
    return "\n".join(lines)


def run_soak(steps: int, ranks: int, every: float, seconds: float, folder: Path) -> tuple[int | None, list[Sample]]:
    """Train ``steps`` steps in ``folder`` and return the exit code and a sample every ``every`` seconds.

    After ``seconds`` the training is ended, and the code is None.
    """
    sets, log = folder / "sets", folder / "run.log"
    write_sets(sets)
    often = max(steps // 100, 1)  # snapshots and verifications
    flags = ("--partial_fc", 1, "--sample_ratio", 0.5, "--device_num_per_node", ranks, "--loss_print_frequency", 10)
    words = training(sets, folder, steps, *flags, "--iter_num_in_snapshot", often, *verification(sets, often))
    command, samples, code = Command(words, "soak", log), [], None
    try:
        while code is None and time.monotonic() < command.began + seconds:
            code = command.wait(every)
            metrics = next(iter(folder.glob("log/*/metrics.jsonl")), folder / "none")
            if code is None:
                samples.append(take_sample(command, metrics))
                remove_old_snapshots(folder / "models")
    finally:
        command.end()
    return code, samples


def main() -> int:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000, help="default %(default)s")
    parser.add_argument("--ranks", type=int, default=1, help="default %(default)s")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two samples; default %(default)s")
    parser.add_argument("--seconds", type=float, default=7200, help="end after these; default %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        code, samples = run_soak(args.steps, args.ranks, args.every, args.seconds, Path(folder))
        if code:
            print((Path(folder) / "run.log").read_text(errors="replace")[-3000:])
    steps = args.steps if code == 0 else samples[-1].step
    faults = [f"the training ended with {code}"] if code else judge(samples, steps)
    print(table(samples, steps))
    for fault in faults:
        print(f"fault: {fault}")
    print(f"\n{steps} of {args.steps} steps, {len(samples)} samples, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    run_command(main)
