"""Programs that load the patches of OneFlow before a library that replaces OneFlow's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from common.compiling import run_tool

ROOT = Path(__file__).parents[2]


def build_stand_in(folder: Path, code: str) -> Path:
    """Return the library made of the C ``code``, under a name like that of OneFlow's."""
    source = folder / "fake.c"
    source.write_text(code)
    library = folder / "liboneflow-fake.so"
    run_tool(["cc", "-shared", "-fPIC", str(source), "-o", str(library)])
    return library


def run_python(code: str, *arguments: str) -> str:
    """Return the output of a Python program."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout.strip()
