"""Measure other load on the machine: numbers measured beside other work are not comparable."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

NOTEWORTHY = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")


class OtherLoad:
    """The share of the machine's time, from now on, that is used by other processes than this one and its children."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy, self._own = busy_seconds(Path("/proc/stat").read_text()), _own_seconds()

    def share(self) -> float:
        """Return the share, 0..1 of all cores. Call it after the children have ended: running ones are not counted."""
        seconds = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        busy = busy_seconds(Path("/proc/stat").read_text()) - self._busy
        return min(max((busy - (_own_seconds() - self._own)) / seconds, 0.0), 1.0)


def busy_seconds(stat: str) -> float:
    """Return the busy seconds of all cores since boot, including time taken by other virtual machines.

    ``stat`` is the text of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal in its first line.
    """
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def describe_load(share: float) -> str:
    """Return the line to print under a table; empty if the other load was small."""
    if share < NOTEWORTHY:
        return ""
    return f"other processes used {share:.0%} of the machine meanwhile; repeat this on an idle machine"
