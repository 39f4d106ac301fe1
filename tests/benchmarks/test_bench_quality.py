from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bench_quality import make_config, make_rows, parse_arguments
from common.errors import UserError


def test_both_heads_train_alike_but_for_the_sample(tmp_path: Path) -> None:
    args, rest = parse_arguments(["--people", "50", "--size", "24", "--steps", "30", "--optimizer", "adamw"])
    full, partial = (make_config(args, rest, tmp_path, "run", ratio) for ratio in ("1", "0.25"))
    assert (full.partial_fc, partial.partial_fc, partial.sample_ratio) == (False, True, 0.25)
    assert {key for key in full if full[key] != partial[key]} == {"partial_fc", "sample_ratio"}
    assert (full.num_classes, full.image_size, full.train_iter, full.optimizer) == (50, 24, 30, "adamw")


def test_a_wrong_flag_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--people: invalid positive whole number value: '0'"):
        parse_arguments(["--people", "0"])
    args, rest = parse_arguments(["--bogus", "1"])
    with pytest.raises(UserError, match="unknown flag --bogus 1"):
        make_config(args, rest, tmp_path, "run", "1")


def test_rows_compare_with_the_full_head_on_as_many_ranks() -> None:
    def result(ranks: int, ratio: float, accuracy: float) -> dict:
        return {"ranks": ranks, "ratio": ratio, "accuracy": accuracy, "std": 0.01, "losses": [9, 3.5], "seconds": 7.2}

    rows = make_rows([result(1, 1, 0.9), result(1, 0.1, 0.895), result(2, 0.1, 0.7)])
    assert rows == [
        ["full head", "1", "90.00 +- 1.00", "+0.00", "3.50", "7"],
        ["Partial FC 0.1", "1", "89.50 +- 1.00", "-0.50", "3.50", "7"],
        ["Partial FC 0.1", "2", "70.00 +- 1.00", "", "3.50", "7"],
    ]
