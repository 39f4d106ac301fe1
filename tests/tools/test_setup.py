"""What tools/setup.sh installs, with a fake Python that only records its calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
case "$*" in
*sys.version_info*) echo 3.10 ;;
*choose_cuda) echo "$CHOICE" ;;
*) echo "$*" | sed 's/.*disable-pip-version-check //' >> log; [ "$BROKEN" != 1 ] ;;
esac
"""
LAST = ["install --no-deps -r requirements-interop.txt", "-c from ops import flow"]
LIGHT = ["install -r requirements.txt", "uninstall --quiet --yes -r requirements-cuda.txt", *LAST]
CUDA = ["install -r requirements.txt -r requirements-cuda.txt", *LAST]
ROOMS = (
    "backbones benchmarks common data deploy engine evaluation interchange launch ops settings snapshots tests tools"
)


@pytest.fixture
def setup(tmp_path):
    """A function that runs the set-up with a choice and returns its output and what it asked Python to do."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/setup.sh", "requirements.txt", "requirements-cuda.txt", "requirements-interop.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(choice: str, broken: bool = False) -> tuple[str, list[str]]:
        log = tmp_path / "log"
        log.write_text("")
        env = os.environ | {"CHOICE": f"{choice}: because of this: so", "BROKEN": str(int(broken))}
        done = subprocess.run(["bash", "tools/setup.sh"], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert (done.returncode != 0, done.stderr) == (broken, "")
        *steps, last = log.read_text().splitlines()
        if broken:
            return done.stdout, [*steps, last]
        assert last == f"-m compileall -qq ./*.py {ROOMS}"
        return done.stdout, steps

    run.folder = tmp_path
    return run


@pytest.mark.parametrize(("choice", "steps"), [("light", LIGHT), ("cuda", CUDA)])
def test_installs_once_and_says_why(setup, choice, steps):
    output, done = setup(choice)
    assert output.startswith("setup: because of this: so\n")
    assert done == steps
    assert setup(choice) == ("", [])


def test_another_choice_is_followed(setup):
    assert [setup(choice)[1] for choice in ("light", "cuda", "light")] == [LIGHT, CUDA, LIGHT]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-cuda.txt", "requirements-interop.txt"])
def test_other_pins_are_installed(setup, name):
    setup("cuda")
    with open(setup.folder / name, "a") as handle:
        handle.write("one-more==1.0\n")
    assert setup("cuda")[1] == CUDA


def test_a_failed_set_up_is_tried_again(setup):
    assert setup("light", broken=True)[1] == LIGHT[:1]
    assert setup("light")[1] == LIGHT


def test_all_rooms_are_compiled():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} <= set(ROOMS.split())
