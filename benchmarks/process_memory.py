"""Read the largest memory of the processes of a command while it runs, from Linux's /proc."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 0.1  # between two looks
_KIB = 1024


@dataclass(frozen=True)
class ProcessPeak:
    """The largest memory of one process.

    Attributes:
        name: ``rank N`` for the ranks of a training, else the name of the program.
        parent: the process that started it.
        peak_bytes: the largest resident memory (VmHWM), without the pages of mapped files below the watched folder.
    """

    name: str
    parent: int
    peak_bytes: int


def run_watched(
    command: Sequence[str], log: Path, mapped: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[int, dict[int, ProcessPeak]]:
    """Run ``command`` to its end; return its exit code and the largest memory of each of its processes.

    A process that lives for less than a tenth of a second may be missed. With ``mapped``, pages of files in this folder
    do not count: the largest sum of the other pages that was seen is returned.

    Args:
        command: the program and its arguments.
        log: file for its output.
        mapped: folder of mapped files.
        environment: additions to the environment.
    """
    peaks: dict[int, ProcessPeak] = {}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while process.poll() is None:
            for pid, parent in descendants(process.pid).items():
                found = _read_peak(pid, mapped)
                if found is not None:
                    name, count = found
                    seen = peaks[pid].peak_bytes if pid in peaks else 0
                    peaks[pid] = ProcessPeak(name, parent, max(seen, count))
            time.sleep(_SECONDS)
    return process.returncode, peaks


def descendants(root: int) -> dict[int, int]:
    """Return the process ``root`` and all that descend from it, each with its parent."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
    found = {root: parents.get(root, 0)}
    while more := {p: parent for p, parent in parents.items() if parent in found and p not in found}:
        found |= more
    return found


def _read_peak(pid: int, mapped: Path | None) -> tuple[str, int] | None:
    """Return the name and the largest memory of a process so far, or None if it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        variables = (folder / "environ").read_bytes().split(b"\0")
        if "VmHWM" not in fields:
            return None
        if mapped is None:
            count = int(fields["VmHWM"].split()[0]) * _KIB
        else:
            count = int(fields["VmRSS"].split()[0]) * _KIB - _mapped_bytes(folder / "smaps", mapped)
    except OSError:
        return None
    ranks = [variable[5:].decode() for variable in variables if variable.startswith(b"RANK=")]
    return (f"rank {ranks[0]}" if ranks else fields["Name"].strip()), count


def _mapped_bytes(smaps: Path, folder: Path) -> int:
    """Return the resident bytes of a process's mapped files below ``folder``."""
    count, inside = 0, False
    for line in smaps.read_text().splitlines():
        key = line.split(None, 1)[0]
        if not key.endswith(":"):
            inside = str(folder) in line
        elif inside and key == "Rss:":
            count += int(line.split()[1]) * _KIB
    return count
