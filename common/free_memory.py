"""The memory that is free here: that of the machine, or what the limits of control groups leave of it.

A container, a systemd unit and a batch queue limit memory by control groups, of version 1 or 2. The limits of all
groups around a process hold. A group's use includes cached files, which the kernel can drop, so they count as free.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Files:
    """The files of a group: its limit, what it uses, and the name in ``memory.stat`` of what can be given back."""

    limit: str
    used: str
    cache: str


_OF_VERSION = {
    "cgroup": _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    "cgroup2": _Files("memory.max", "memory.current", "inactive_file"),
}


def free_memory(proc: Path = Path("/proc")) -> int:
    """Return the bytes free for new processes; ``proc`` is where the kernel describes itself."""
    lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    return max(min([free, *_left_in_groups(proc)]), 0)


def processes_killed_for_memory(proc: Path = Path("/proc")) -> int:
    """Return how many processes the kernel has killed for want of memory, here and in containers; 0 if unknown."""
    with contextlib.suppress(OSError):
        for line in (proc / "vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _left_in_groups(proc: Path) -> Iterator[int]:
    """Yield the bytes that each limited group around this process leaves."""
    with contextlib.suppress(OSError):
        groups = dict(_groups((proc / "self/cgroup").read_text()))
        for version, root, mounted in _mounts((proc / "self/mountinfo").read_text()):
            path = groups.get(version, "")
            # Of a container without a namespace for groups, ``path`` begins with the root of the mount.
            inside = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path()
            for folder in (mounted / inside, *(mounted / inside).parents):
                if not folder.is_relative_to(mounted):
                    break
                yield from _left(folder, _OF_VERSION[version])


def _groups(text: str) -> Iterator[tuple[str, str]]:
    """Yield the version and path of each group that may limit memory, of /proc/self/cgroup."""
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield "cgroup2", path
        elif "memory" in controllers.split(","):
            yield "cgroup", path


def _mounts(text: str) -> Iterator[tuple[str, str, Path]]:
    """Yield the version, the root and the place of each mounted tree of such groups, of /proc/self/mountinfo."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            root, place = before.split()[3:5]
            yield kind, root, Path(place)


def _left(folder: Path, files: _Files) -> Iterator[int]:
    """Yield what a group leaves of its limit, if it has one and can be read."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: "max"
        limit = int((folder / files.limit).read_text())
        used = int((folder / files.used).read_text())
        yield limit - used + _cache(folder / "memory.stat", files.cache)


def _cache(path: Path, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0
