"""Every file of tools/ is a command: it answers --help, from any folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tools").rglob("*.py") if p.name != "__init__.py")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and output of each command, by its path in the repository."""
    program = [sys.executable, str(Path(__file__).with_name("help_program.py")), *(str(ROOT / c) for c in COMMANDS)]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(program, cwd=elsewhere, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {str(Path(path).relative_to(ROOT)): answer for path, answer in json.loads(done.stdout).items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_printed(answers: dict[str, tuple[int, str]], command: str) -> None:
    code, output = answers[command]
    assert code == 0
    assert output.startswith(f"usage: {Path(command).name} ")
