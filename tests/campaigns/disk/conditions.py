"""The conditions that commands meet: full, read-only, forbidden and slow disks, and limits of memory and open files."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.disk.places import MemoryDisk, NotPossibleError, memory_group, slow_writes
from tests.campaigns.processes import Command

LOGS = "full disk for the logs alone"  # of a training
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
        killed: whether the system may kill a process, which then leaves what it was writing.
    """

    folder: Path
    prefix: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    succeeds: bool | None = False
    named: Sequence[str] = ()
    during: Callable[[Command], None] | None = None
    lacks: Sequence[str] = ()
    killed: bool = False


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


def _group(size: int, leaves: float | None = None) -> Condition:
    """Return a limit as containers have it; with ``leaves``, it becomes that share of what is in use in the middle."""

    @contextmanager
    def condition(name: Path, disk: MemoryDisk | None, output: int) -> Iterator[Situation]:
        name.mkdir()
        with memory_group(f"insightface-{os.getpid()}", size) as group:

            def shrink(command: Command) -> None:
                with suppress(OSError):  # it uses more, and nothing can be dropped
                    group.limit(int(group.used() * leaves))

            prefix = (*_LIMITED.split(), "group", str(group.entrance))
            during = None if leaves is None else shrink
            yield Situation(name, prefix, succeeds=None, named=_OF_MEMORY, during=during, killed=True)

    return condition


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
    LOGS: _full_for_logs,
    "read-only disk": _read_only,
    "folder without permission": _forbidden,
    "slow disk": _slow,
    "400 MB of address space": _limit("memory", 400 << 20, _OF_MEMORY),
    "1.5 GB of address space": _limit("memory", 1500 << 20, _OF_MEMORY),
    "no more memory in the middle": _memory_in_the_middle,
    "a container of 60 MB": _group(60 << 20),
    "a container of 150 MB": _group(150 << 20),
    "a container that shrinks in the middle": _group(1 << 30, 1.02),
    "16 open files": _limit("files", 16, _OF_FILES),
    "40 open files": _limit("files", 40, _OF_FILES),
}
