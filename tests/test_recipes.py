"""docs/recipes.md: the programs accept every command, chains fit together, and the recipes on ORL run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from settings.train_command import resolve_train_config
from tests.support.own_set import write_own_set

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("insightface_train.py", "insightface_val.py", "tools", "sample_config.py")


def read_blocks() -> dict[str, list[str]]:
    """Return the shell blocks below each heading of the second level; before the first one: 'Recipes'."""
    blocks: dict[str, list[str]] = {}
    for section in re.split(r"^##? ", (ROOT / "docs/recipes.md").read_text(), flags=re.MULTILINE)[1:]:
        blocks[section.splitlines()[0]] = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    return blocks


def list_commands(block: str) -> list[list[str]]:
    """Return the words of each ``python`` command of a block."""
    lines = block.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line.rstrip(" &")) for line in lines if line.strip()]
    assert {command[0] for command in commands} <= {"python", "seq", "wait"}
    return [command[1:] for command in commands if command[0] == "python"]


BLOCKS = read_blocks()
PREPARE = "Recipes"
RECIPES = [name for name in BLOCKS if name != PREPARE]
BLOCK_NAMES = [(name, i) for name in BLOCKS for i in range(len(BLOCKS[name]))]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_command_for_orl(name: str) -> None:
    assert len(BLOCKS[name]) == 2
    assert all("orl" in " ".join(command) for command in list_commands(BLOCKS[name][1]))


@pytest.mark.parametrize(("name", "number"), BLOCK_NAMES)
def test_every_command_is_taken(tmp_path: Path, name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page; those of tools are checked with those of all pages, in test_docs.py."""
    monkeypatch.chdir(tmp_path)
    for script, *flags in list_commands(BLOCKS[name][number]):
        if script == "insightface_train.py":
            write_own_set(flags, tmp_path)
            resolve_train_config(flags, tmp_path)


@pytest.mark.parametrize("number", [0, 1])
def test_chains_fit_together(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command starts from is written by one before it; on ORL all recipes can be run in one folder."""
    monkeypatch.chdir(tmp_path)
    written: set[tuple[Path, int]] = set()
    for name in RECIPES:
        for script, *flags in list_commands(BLOCKS[name][number]):
            if script != "insightface_train.py":
                continue
            write_own_set(flags, tmp_path)
            config = resolve_train_config(flags, tmp_path)
            if config.pretrained.startswith("models/"):
                assert (Path(config.pretrained), 0) in written, name
            run = Path(config.models_root) / f"{config.network}-{config.loss}-{config.dataset}"
            snapshot = (run / f"snapshot_{config.train_iter}", config.node_rank)
            assert number == 0 or config.node_rank or all(run != path.parent for path, _ in written), name
            written.add(snapshot)


def test_a_wrong_flag_would_be_noticed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown flag"):
        resolve_train_config([*list_commands(BLOCKS["ArcFace with r100"][1])[0][1:], "--magrin", "1"], tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands of the document run as in the repository, with the ORL faces prepared."""
    folder = tmp_path_factory.mktemp("recipes")
    for name in PROGRAMS:
        (folder / name).symlink_to(ROOT / name)
    run_block(BLOCKS[PREPARE][0], folder)
    return folder


def run_block(block: str, folder: Path) -> str:
    """Run a block unchanged, with this Python, and return its output."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=7200,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    return result.stdout


def read_accuracies(output: str) -> list[float]:
    """Return the last accuracy of each training in the output of a chain."""
    runs = output.split("Called with argument:")[1:]
    return [float(re.findall(r"^\[orl\]\[\d+\]Accuracy-Flip: ([\d.]+)\+-", run, re.MULTILINE)[-1]) for run in runs]


@pytest.mark.slow
def test_three_stages_of_mobilefacenet_on_orl(folder: Path) -> None:
    """ArcFace improves on the softmax, the fine-tuning holds that: 900 pairs have a standard deviation of 1 %."""
    softmax, arcface, finetuned = read_accuracies(run_block(BLOCKS["MobileFaceNet in three stages"][1], folder))
    assert arcface > softmax
    assert finetuned > max(arcface - 0.01, 0.85)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if name != "MobileFaceNet in three stages"])
def test_recipes_run_on_orl(folder: Path, name: str) -> None:
    if "models/y1-arcface-orl" in BLOCKS[name][1] and not (folder / "models/y1-arcface-orl").is_dir():
        pytest.skip("it resumes from the three stages, which have not run")
    output = run_block(BLOCKS[name][1], folder)
    runs = [command for command in list_commands(BLOCKS[name][1]) if "--node_rank 1" not in " ".join(command)]
    assert output.count("snapshot: models/") >= len(runs)
