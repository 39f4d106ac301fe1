from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bench_quality import Form, make_config, make_rows, parse_arguments
from common.errors import UserError


def test_both_heads_train_alike_but_for_the_sample(tmp_path: Path) -> None:
    args, rest = parse_arguments(["--people", "50", "--size", "24", "--steps", "30", "--optimizer", "adamw"])
    forms = (Form("1", "float32", "3"), Form("0.25", "float32", "3"), Form("1", "bf16", "3"))
    full, partial, narrow = (make_config(args, rest, tmp_path, "run", form) for form in forms)
    assert {key for key in full if full[key] != narrow[key]} == {"fc7_dtype"} and full.seed == 3
    assert (full.partial_fc, partial.partial_fc, partial.sample_ratio) == (False, True, 0.25)
    assert {key for key in full if full[key] != partial[key]} == {"partial_fc", "sample_ratio"}
    assert (full.num_classes, full.image_size, full.train_iter, full.optimizer) == (50, 24, 30, "adamw")


def test_a_wrong_flag_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--people: invalid positive whole number value: '0'"):
        parse_arguments(["--people", "0"])
    args, rest = parse_arguments(["--bogus", "1"])
    with pytest.raises(UserError, match="unknown flag --bogus 1"):
        make_config(args, rest, tmp_path, "run", Form("1", "float32", "1"))


def result(ranks: int, ratio: float, accuracy: float, row_dtype: str = "float32") -> dict:
    values = {"accuracy": accuracy, "std": 0.01, "losses": [9, 3.5], "seconds": 7.2}
    return {"ranks": ranks, "ratio": ratio, "row_dtype": row_dtype, "seed": "1", **values}


def test_rows_compare_with_the_full_head_on_as_many_ranks() -> None:
    rows = make_rows([result(1, 1, 0.9), result(1, 0.1, 0.895), result(2, 0.1, 0.7)])
    assert rows == [
        ["full head", "float32", "1", "90.00 +- 1.00", "+0.00", "+0.00", "3.50", "7"],
        ["Partial FC 0.1", "float32", "1", "89.50 +- 1.00", "-0.50", "+0.00", "3.50", "7"],
        ["Partial FC 0.1", "float32", "2", "70.00 +- 1.00", "", "+0.00", "3.50", "7"],
    ]


def test_means_over_the_seeds_compare_with_float32_rows() -> None:
    rows = make_rows(
        [result(1, 0.1, 0.8), result(1, 0.1, 0.9), result(1, 0.1, 0.84, "bf16"), result(1, 0.1, 0.88, "bf16")]
    )
    assert rows == [
        ["Partial FC 0.1", "float32", "1", "85.00 +- 5.00", "", "+0.00", "3.50", "14"],
        ["Partial FC 0.1", "bf16", "1", "86.00 +- 2.00", "", "+1.00", "3.50", "14"],
    ]
