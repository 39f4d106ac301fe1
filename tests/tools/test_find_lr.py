from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from engine.rate_suggestion import sweep_rates
from tools.find_lr import Sweep, parse_arguments, report, sweep_config

ROOT = Path(__file__).resolve().parents[2]
SYNTHETIC = ["--use_synthetic_data", "1", "--network", "y1", "--num_classes", "4", "--device", "cpu"]


def config_of(tmp_path: Path, *words: str) -> dict:
    args, rest = parse_arguments([*SYNTHETIC, *words])
    return sweep_config(args, rest, tmp_path)[0]


def test_the_head_and_the_length_are_those_of_the_training_and_places_are_not(tmp_path: Path) -> None:
    words = ["--partial_fc", "1", "--sample_ratio", "0.5", "--models_root", "mine", "--resume", "1", "--lr", "0"]
    words += [
        "--train_unit",
        "epoch",
        "--end_epoch",
        "3",
        "--train_iter",
        "4",
        "--lr_steps",
        "7",
        "--sweep_steps",
        "50",
    ]
    config = config_of(tmp_path, *words)
    assert config.partial_fc and config.sample_ratio == 0.5 and config.lr > 0
    assert config.models_root == str(tmp_path / "models") and not config.resume and not config.save_last_snapshot
    assert (config.train_unit, config.train_iter, config.end_epoch, config.lr_steps) == ("epoch", 4, 3, [7])
    assert (config.sweep_lowest, config.sweep_highest, config.sweep_steps) == (1e-4, 3, 50)


@pytest.mark.parametrize(("given", "expected"), [("0", 0), ("19", 0), ("20", 200), ("500", 500)])
def test_only_a_training_that_is_frozen_to_its_end_is_tried_frozen(tmp_path: Path, given: str, expected: int) -> None:
    words = ["--total_img_num", "640", "--train_unit", "epoch", "--train_iter", "2", "--freeze_backbone_steps", given]
    assert config_of(tmp_path, *words).freeze_backbone_steps == expected
    assert config_of(tmp_path, "--train_iter", "0", "--max_steps", "9").freeze_backbone_steps == 0


def test_the_range_fits_the_optimiser_unless_it_is_given(tmp_path: Path) -> None:
    config = config_of(tmp_path, "--optimizer", "adamw", "--highest", "1")
    assert (config.sweep_lowest, config.sweep_highest) == (1e-6, 1)


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--sweep_steps", "5"], ["--sweep_steps: '5' is not a whole number >= 20"]),
        (["--lowest", "0"], ["--lowest: '0' is not a number above 0"]),
        (["--picture", "a.jpg"], ["--picture a.jpg: the name must end in .png"]),
        (["--bogus", "1"], ["unknown flag --bogus"]),
        (
            ["--loss", "triplet", "--lowest", "1", "--highest", "1"],
            ["--loss triplet: its triplets", "--lowest 1 is not below --highest 1"],
        ),
        (["--model_load_dir", "x"], ["--model_load_dir"]),
    ],
)
def test_mistakes_are_clear_lines(tmp_path: Path, words: list[str], messages: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        config_of(tmp_path, *words)
    lines = str(raised.value).splitlines()
    assert len(lines) == len(messages)
    assert all(message in line for message, line in zip(messages, lines, strict=True))


RATES = sweep_rates(1e-4, 1, 60).tolist()
LOSSES = np.interp(np.log10(RATES[:50]), [-4, -3, -2, 0], [9, 9, 4, 8]).tolist()
FLAT = [9.0] * 40


@pytest.mark.parametrize(
    ("losses", "trials", "suggestion", "said"),
    [
        (LOSSES, [(0.002, 5.0), (0.008, 4.5), (0.032, None), (0.016, 4.8)], 0.008, ["suggestion: --lr 0.008"]),
        (
            LOSSES,
            [(0.004, 5.0), (0.016, 4.5)],
            0.016,
            ["note: no rate beyond 0.016 was tried; a --highest beyond 3 may", "suggestion: --lr 0.016"],
        ),
        (
            LOSSES,
            [(0.002, None), (0.0005, None)],
            None,
            ["diverges at each rate down to 0.0005; use a smaller --lowest"],
        ),
        (FLAT, [], None, ["does not fall"]),
    ],
    ids=["inside", "edge", "diverging", "flat"],
)
def test_the_report_draws_writes_and_suggests(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    losses: list[float],
    trials: list[tuple[float, float | None]],
    suggestion: float | None,
    said: list[str],
) -> None:
    picture, numbers = tmp_path / "a.png", tmp_path / "a.json"
    args, _ = parse_arguments(["--picture", str(picture), "--json", str(numbers)])
    lines = [f"picture: {picture}"]
    try:
        report(args, config_of(tmp_path), Sweep(RATES, losses, trials))
    except UserError as error:
        assert suggestion is None
        lines = [str(error)]
        capsys.readouterr()
    printed = [*lines, *capsys.readouterr().out.splitlines()[1:]] if suggestion else lines
    assert len(printed) == len(said) + bool(suggestion)
    assert all(part in line for part, line in zip(said, printed[bool(suggestion) :], strict=True))
    assert picture.read_bytes().startswith(b"\x89PNG")
    written = json.loads(numbers.read_text())
    assert written["suggestion"] == suggestion and written["trials"] == [list(each) for each in trials]


@pytest.mark.slow
def test_a_rate_is_suggested_and_nothing_else_is_written(tmp_path: Path) -> None:
    flags = "--net_blocks 1,1,1,1 --net_output FC --image_size 24 --num_classes 16 --total_img_num 32 --num_workers 0"
    flags += " --train_batch_size 16 --device_num_per_node 2 --loss nsoftmax --loss_s 16 --partial_fc 1"
    flags += " --fc7_storage mmap --sweep_steps 60 --trial_steps 20 --json swept.json"
    flags += " --train_iter 80 --lr_steps 60 --warmup_steps 70"
    command = [sys.executable, str(ROOT / "tools/find_lr.py"), *SYNTHETIC, *flags.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the schedule of the run, 80 steps in 20" in done.stdout
    swept = json.loads((tmp_path / "swept.json").read_text())
    trials = dict(swept["trials"])
    assert len(trials) >= 3 and trials[swept["suggestion"]] == min(each for each in trials.values() if each is not None)
    assert done.stdout.splitlines()[-1] == f"suggestion: --lr {swept['suggestion']:g}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["find_lr.png", "swept.json"]
