"""Read damaged files in a process with little free memory, and check the results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("damage_program.py")

Answers = dict[str, tuple[str, str, float]]


def read_all(folder: Path) -> Answers:
    """Return for each file the kind of answer, its text, and the seconds it took."""
    done = subprocess.run([sys.executable, str(PROGRAM), str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {name: tuple(rest) for name, *rest in map(json.loads, done.stdout.splitlines())}


def require_clear(answers: Answers, expected: set[str]) -> None:
    """Check that each of the ``expected`` files was read, or refused quickly with one line that names it."""
    assert answers.keys() == expected
    for name, (kind, text, seconds) in answers.items():
        assert kind in ("read", "refused"), (name, kind, text)
        assert "\n" not in text and len(text) < 1000, (name, text)
        assert kind == "read" or name.split("-0000")[0] in text, (name, text)
        assert not any(word in text for word in ("MemoryError", "bad_alloc", "Unable to allocate")), (name, text)
        assert seconds < 20, (name, seconds)
