"""What the processor can do."""

from __future__ import annotations

from pathlib import Path


def processor_flags() -> set[str]:
    """Return the features that Linux lists for the processor, such as ``avx512f``; none where it lists none."""
    try:
        return set(Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split())
    except OSError:
        return set()


def multiplies_bfloat16() -> bool:
    """Return whether oneDNN multiplies bfloat16 on this processor, as it does from AVX-512 on."""
    return processor_flags() >= {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
