"""Format and save the results of a benchmark: aligned tables, the machine, one JSON file."""

from __future__ import annotations

import json
import os
import platform
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.files import atomic_file

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """Return the header and the rows in aligned columns: the first ``text_columns`` left, the others right.

    Raises:
        ValueError: the number of cells of a row differs from that of the header.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        [
            cell.ljust(width) if index < text_columns else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def describe_machine() -> dict[str, Any]:
    """Return the processor's name, the cores this process may use, and the vector units relevant here."""
    name, flags = platform.processor() or platform.machine(), set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() == "flags":
            flags = set(value.split())
    return {"cpu": name, "cores": len(os.sched_getaffinity(0)), "units": [flag for flag in _FLAGS if flag in flags]}


def format_machine(machine: dict[str, Any]) -> str:
    """Describe the machine in one line."""
    return f"{machine['cpu']}, {machine['cores']} cores, {' '.join(machine['units']) or 'no known vector units'}"


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write ``content`` and a description of the machine to ``path``, complete or not at all."""
    with atomic_file(path, "w") as file:
        json.dump({"machine": describe_machine(), **content}, file, indent=1)
        file.write("\n")


def run_bench(bench: Callable[[Namespace], dict[str, Any]], args: Namespace) -> None:
    """Print the machine, measure with ``bench``, which prints its table, and write its numbers to ``--json``."""
    print(format_machine(describe_machine()))
    content = bench(args)
    if args.json:
        write_json(args.json, {"settings": vars(args), **content})
