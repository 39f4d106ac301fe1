from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import UserError
from tools import plan_run


def run(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    monkeypatch.setattr("sys.argv", ["plan_run.py", *flags])
    plan_run.main()


def test_a_plan_needs_no_images_and_takes_the_training_s_flags(monkeypatch, capsys, tmp_path: Path):
    file = tmp_path / "plan.json"
    training = ["--network", "y1", "--num_classes", "1.5M", "--partial_fc", "1", "--train_batch_size=1k"]
    own = ["--ranks", "4", "--memory_per_rank", "8", "--link_gbit", "1", "--json", str(file)]
    run(monkeypatch, *training, "--fc7_dtype", "bf16", *own)
    printed = capsys.readouterr().out
    assert printed.startswith("y1, 1,500,000 classes, margin_softmax, Partial FC, batch 1000 on 4 rank(s)\n")
    plan = json.loads(file.read_text())
    assert plan["estimate"]["fc7"] == 375_000 * 128 * 2
    assert plan["wire"]["seconds"] == pytest.approx(plan["wire"]["total"] * 8e-9)
    assert f"a snapshot, GB                           {plan['estimate']['snapshot'] / 1e9:.2f}\n" in printed
    assert printed.splitlines()[-1] == plan["advice"]
    assert [entry["sample_ratio"] for entry in plan["ratios"]] == [1.0, 0.5, 0.3, 0.1, 0.05, 0.03, 0.01]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_classes", "1x"], "--num_classes: '1x' is not a whole number above 0 such as 500, 10k, 1.5M or 1G"),
        (["--ranks", "0"], "argument --ranks: '0' is not a whole number above 0"),
        (["--memory_per_rank", "-1"], "argument --memory_per_rank: '-1' is not a number above 0"),
        (["--num_nodes", "2"], "--num_nodes: give --ranks, the number over all machines"),
        (["--num_clases", "1M"], "unknown flag --num_clases 1M; did you mean --num_classes"),
        (["--ranks", "3", "--train_batch_size", "1k"], "--train_batch_size 1000 is not a multiple of the 3 ranks"),
    ],
)
def test_mistakes_are_one_line(flags, message):
    with pytest.raises(UserError) as error:
        plan_run.parse_arguments(flags)
    assert message in str(error.value) and "\n" not in str(error.value)
