"""Let commands meet disks and limits that do not suffice: ``python -m tests.campaigns.disk.campaign``.

A command that cannot do its work has to say so in clear lines that name a file or a resource, end with a code that is
not 0 and leave nothing hidden; with more room the same command has to bring the results of an undisturbed run. Prints a
table of conditions and commands, and every fault, and ends with code 1 if there is one.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import run_command
from tests.campaigns.disk.places import MemoryDisk, NotPossibleError, memory_disk, slow_writes
from tests.campaigns.kills.campaign import run_undisturbed
from tests.campaigns.kills.jobs import STEPS, Job, training_jobs, writing_jobs
from tests.campaigns.kills.trial import Undisturbed, compare
from tests.campaigns.processes import Command
from tests.campaigns.small_runs import write_sets

_LONGEST = 600  # seconds of a command
_TRAINING, _CONVERSION = "AdamW", "recordio to OFRecord"
_LOGS = "full disk for the logs alone"  # of a training
_LIMITED = "-m tests.campaigns.disk.limits"


@dataclass(frozen=True)
class Situation:
    """A place for outputs and what surrounds a command.

    Attributes:
        folder: for the outputs.
        prefix: words before those of the command.
        environment: more variables.
        succeeds: True where the command has to, False where it cannot, None where either is right.
        named: one of these has to be in the message of a command that fails.
        during: called with the command once it works.
        lacks: results that may be missing.
    """

    folder: Path
    prefix: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    succeeds: bool | None = False
    named: Sequence[str] = ()
    during: Callable[[Command], None] | None = None
    lacks: Sequence[str] = ()


Condition = Callable[[Path, MemoryDisk | None, int], "Iterator[Situation]"]


def _full(share: float) -> Condition:
    @contextmanager
    def condition(name: Path, disk: MemoryDisk | None, size: int) -> Iterator[Situation]:
        folder = _on(disk, name)
        disk.fill(int(size * share))
        try:
            # Where only the logs do not fit, a training ends well.
            yield Situation(folder, succeeds=None if share else False, named=(str(folder),))
        finally:
            disk.free()

    return condition


@contextmanager
def _full_for_logs(name: Path, disk: MemoryDisk | None, size: int) -> Iterator[Situation]:
    name.mkdir()
    (name / "log").symlink_to(_on(disk, name))
    disk.fill(0)
    try:
        yield Situation(name, succeeds=True, lacks=("losses",))
    finally:
        disk.free()


@contextmanager
def _read_only(name: Path, disk: MemoryDisk | None, size: int) -> Iterator[Situation]:
    folder = _on(disk, name)
    disk.set_read_only(True)
    try:
        yield Situation(folder, named=(str(folder),))
    finally:
        disk.set_read_only(False)


@contextmanager
def _forbidden(name: Path, disk: MemoryDisk | None, size: int) -> Iterator[Situation]:
    name.mkdir()
    if os.geteuid() == 0:
        os.chown(name, 65534, 65534)
    name.chmod(0o555)
    try:
        yield Situation(name, (*_LIMITED.split(), "owner", "-"), named=(str(name),))
    finally:
        os.chown(name, os.geteuid(), os.getegid())
        name.chmod(0o755)


@contextmanager
def _slow(name: Path, disk: MemoryDisk | None, size: int) -> Iterator[Situation]:
    name.mkdir()
    yield Situation(name, environment=slow_writes(name.parent), succeeds=True)


def _limit(kind: str, value: int, named: Sequence[str]) -> Condition:
    @contextmanager
    def condition(name: Path, disk: MemoryDisk | None, size: int) -> Iterator[Situation]:
        name.mkdir()
        yield Situation(name, (*_LIMITED.split(), kind, str(value)), succeeds=None, named=named)

    return condition


@contextmanager
def _memory_in_the_middle(name: Path, disk: MemoryDisk | None, size: int) -> Iterator[Situation]:
    name.mkdir()

    def leave_none(command: Command) -> None:
        for pid in command.processes():
            used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(pid, resource.RLIMIT_AS, (used, resource.RLIM_INFINITY))

    yield Situation(name, succeeds=None, named=_OF_MEMORY, during=leave_none)


def _on(disk: MemoryDisk | None, name: Path) -> Path:
    if disk is None:
        raise NotPossibleError("this process may not mount a file system")
    folder = disk.folder / name.name
    folder.mkdir()
    return folder


_OF_MEMORY = ("memory", "Memory")
_OF_FILES = ("open files", "cannot be")
CONDITIONS: dict[str, Condition] = {
    "full disk": _full(0),
    "disk for 30 % of the output": _full(0.3),
    "disk for 70 % of the output": _full(0.7),
    "disk for 95 % of the output": _full(0.95),
    _LOGS: _full_for_logs,
    "read-only disk": _read_only,
    "folder without permission": _forbidden,
    "slow disk": _slow,
    "400 MB of address space": _limit("memory", 400 << 20, _OF_MEMORY),
    "1.5 GB of address space": _limit("memory", 1500 << 20, _OF_MEMORY),
    "no more memory in the middle": _memory_in_the_middle,
    "16 open files": _limit("files", 16, _OF_FILES),
    "40 open files": _limit("files", 40, _OF_FILES),
}


def _size(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def judge(code: int | None, text: str, situation: Situation) -> list[str]:
    """Return what is wrong with the end of a command under a condition, one line each."""
    if code is None:
        return [f"hung for {_LONGEST} s"]
    said = Counter(line for line in text.splitlines() if "the training continues without it" in line)
    twice = [f"said {count} times: {line}" for line, count in said.items() if count > 1]
    if code == 0:
        return [*twice, *(["ended with 0"] if situation.succeeds is False else [])]
    faults = ["failed"] if situation.succeeds else []
    if code < 0:
        faults.append(f"ended by signal {-code}")
    if "Traceback" in text:
        faults.append("a traceback")
    messages = [line for line in text.splitlines() if line.startswith("error: ")]
    messages += text.rpartition(" failed: ")[2].splitlines()  # how a rank ended, and its last words
    if situation.named and not any(word in line for line in messages for word in situation.named):
        faults.append(f"no error names {' or '.join(situation.named)}")
    return faults


def try_case(job: Job, undisturbed: Undisturbed, situation: Situation, log: Path) -> list[str]:
    """Run a command under a condition and return what is wrong, one line each."""
    (words,) = job.commands(situation.folder, False)
    command = Command([*situation.prefix, *words], log.name, log, situation.environment)
    try:
        if situation.during is not None:
            while command.wait(0.01) is None:
                if job.is_under_way(situation.folder):
                    situation.during(command)
                    break
        code = command.wait(_LONGEST)
    finally:
        command.end()
    faults = judge(code, log.read_text(errors="replace"), situation)
    hidden = [path.name for path in situation.folder.rglob(".*")]
    return faults + [f"left over: {name}" for name in hidden]


def finish(job: Job, undisturbed: Undisturbed, situation: Situation, log: Path) -> list[str]:
    """Run the same command with enough of everything, and return what is wrong with its results, one line each."""
    folder = situation.folder
    if not job.is_done(folder):
        (words,) = job.commands(folder, True)
        command = Command(words, log.name, log)
        try:
            code = command.wait(_LONGEST)
        finally:
            command.end()
        if code != 0 or not job.is_done(folder):
            return [f"afterwards: ended with {code}"]
    results = {**job.results(folder), **{name: undisturbed.results[name] for name in situation.lacks}}
    return [f"afterwards: {fault}" for fault in compare(undisturbed.results, results)]


def run_campaign(conditions: Sequence[str], names: Sequence[str] | None, folder: Path) -> dict[tuple[str, str], str]:
    """Return ``ok``, ``not possible here`` or the faults of each (condition, command)."""
    sets = folder / "sets"
    write_sets(sets)
    model = folder / f"whole {_TRAINING}" / "models" / "y1-arcface-emore" / f"snapshot_{STEPS}"
    known = {**training_jobs(sets), **writing_jobs(sets, model)}
    chosen = list(names or (_TRAINING, *writing_jobs(sets, model)))
    needed = chosen if chosen == [_CONVERSION] else [_TRAINING, *chosen]  # the others read its snapshot
    undisturbed = {name: run_undisturbed(known[name], folder / f"whole {name}") for name in dict.fromkeys(needed)}
    outcomes = {}
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(memory_disk(folder / "disk"))
        except NotPossibleError as error:
            disk = None
            print(f"skipped what needs a file system in memory: {error}")
        for name in chosen:
            job = known[name]
            size = _size(folder / f"whole {name}")
            for number, condition in enumerate(conditions):
                if condition == _LOGS and "step" not in job.moments:
                    continue
                place = folder / f"{name} {number}"
                log = place.with_suffix(".log")
                try:
                    with CONDITIONS[condition](place, disk, size) as situation:
                        faults = try_case(job, undisturbed[name], situation, log)
                    faults += finish(job, undisturbed[name], situation, place.with_suffix(".again.log"))
                    shutil.rmtree(situation.folder)
                except NotPossibleError as error:
                    outcomes[condition, name] = "not possible here"
                    print(f"skipped: {condition}: {error}")
                    continue
                outcomes[condition, name] = "; ".join(faults) or "ok"
                if faults:
                    print(f"fault: {condition}, {name}: {outcomes[condition, name]}", flush=True)
                    print(log.read_text(errors="replace")[-1500:], flush=True)
    return outcomes


def table(outcomes: Mapping[tuple[str, str], str]) -> str:
    """Return the outcomes: a line for each condition, a column for each command."""
    conditions, names = (list(dict.fromkeys(key[place] for key in outcomes)) for place in (0, 1))
    lines = [f"| condition | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    short = {"ok": "ok", "not possible here": "-"}
    for condition in conditions:
        cells = [short.get(outcomes.get((condition, name), "not possible here"), "fault") for name in names]
        lines.append(f"| {condition} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--condition", action="append", choices=list(CONDITIONS), help="only this one; may be repeated")
    parser.add_argument("--job", action="append", help="only this command; may be repeated")
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run_campaign(args.condition or list(CONDITIONS), args.job, Path(folder))
    faults = sum(outcome not in ("ok", "not possible here") for outcome in outcomes.values())
    print(table(outcomes))
    print(f"\n{len(outcomes)} cases, {faults} faults, {time.monotonic() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    run_command(main)
