"""What the processor can do."""

from __future__ import annotations

from pathlib import Path


def processor_flags() -> set[str]:
    """Return the features that Linux lists for the processor, such as ``avx512f``; none where it lists none."""
    try:
        return set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:
        return set()
