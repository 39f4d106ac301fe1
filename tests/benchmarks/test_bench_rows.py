from __future__ import annotations

import pytest

from benchmarks.contestants import Contestant
from benchmarks.rounds import Measured
from benchmarks.rows import HEADER, describe_best, format_speed, make_rows, row_cells


def entry(name: str, seconds: list[float], results: list[float] | None = None, **about: object) -> Measured:
    precision = about.pop("precision", "float32")
    contestant = Contestant(name, "none", precision, options=about)
    return Measured(contestant, name.upper(), seconds, [1.0, 2.0] if results is None else results)


def rows_by_name(*measured: Measured) -> dict:
    rows, absences = make_rows(measured, batch=10)
    assert absences == []
    return {(row.name, row.about): row for row in rows}


def test_ratio_and_share_compare_within_one_precision():
    rows = rows_by_name(
        entry("f32", [2.0]),
        entry("bf16", [1.0], precision="bfloat16"),
        entry("mxnet", [4.0]),
        entry("torch_bf16", [0.5], precision="bfloat16"),
        entry("limit", [1.0], []),
        entry("limit", [0.25], [], precision="bfloat16"),
    )
    assert rows["mxnet", "float32"].ratio == pytest.approx(2.0)
    assert rows["torch_bf16", "bfloat16"].ratio == pytest.approx(0.5)
    assert rows["f32", "float32"].ratio == pytest.approx(1.0)
    assert rows["f32", "float32"].share == pytest.approx(0.5)
    assert rows["bf16", "bfloat16"].share == pytest.approx(0.25)
    assert rows["limit", "float32"].ratio is None


def test_the_best_share_is_of_the_shortest_step_and_the_shortest_limit():
    row = rows_by_name(entry("f32", [4.0, 2.5, 5.0]), entry("limit", [2.0, 3.0, 4.0], []))["f32", "float32"]
    assert (row.share, row.best_share) == pytest.approx((0.75, 0.8))
    assert row_cells(row)[HEADER.index("at best")] == "80%"


def test_only_the_fastest_of_one_name_has_a_row():
    rows = rows_by_name(
        entry("f32", [1.0]), entry("torch", [4.0], layout="default"), entry("torch", [2.0], layout="channels_last")
    )
    assert [key for key in rows if key[0] == "torch"] == [("torch", "float32, channels_last")]
    assert rows["torch", "float32, channels_last"].ratio == pytest.approx(2.0)


def test_the_best_of_a_family_is_named_for_each_precision():
    rows, _ = make_rows(
        [
            entry("f32", [1.0]),
            entry("torch", [4.0], layout="default"),
            entry("torch_compile", [2.0], layout="channels_last"),
            entry("torch_bf16", [1.0], precision="bfloat16"),
            entry("torch_compile_bf16", [5.0], precision="bfloat16"),
            entry("mxnet", [0.5]),
        ],
        batch=10,
    )
    assert describe_best(rows, "torch") == [
        "best of torch in float32: torch_compile, 5.00 images/s, ours / it 2.00",
        "best of torch in bfloat16: torch_bf16, 10.0 images/s",
    ]


def test_without_ours_and_limit_there_are_no_ratios():
    row = rows_by_name(entry("mxnet", [1.0, 1.0, 7.0]))["mxnet", "float32"]
    assert (row.ratio, row.share, row.best_share, row.images_per_second, row.steps) == (None, None, None, 10.0, 3)


def test_who_computes_something_else_has_no_row():
    measured = [entry("f32", [0.1], [5.0, 5.0]), entry("mxnet", [1.0]), entry("torch", [1.0])]
    rows, absences = make_rows(measured, batch=10)
    assert [row.name for row in rows] == ["mxnet", "torch"]
    assert absences[0].name == "f32"
    assert "differ from the others'" in absences[0].reason


def test_bfloat16_may_round_but_not_err():
    exact = [entry("f32", [1.0], [1.0, 2.0]), entry("mxnet", [1.0], [1.0, 2.0])]
    near = entry("bf16", [1.0], [1.05, 2.0], precision="bfloat16")
    far = entry("torch_bf16", [1.0], [2.0, 1.0], precision="bfloat16")
    rows, absences = make_rows([*exact, near, far], batch=10)
    assert [row.name for row in rows] == ["f32", "mxnet", "bf16"]
    assert [absence.name for absence in absences] == ["torch_bf16"]


def test_failures_keep_their_reason():
    failed = entry("mxnet", [], [])
    failed.failure = "no module"
    _, absences = make_rows([entry("f32", [1.0]), failed], batch=10)
    assert [(a.name, a.reason) for a in absences] == [("mxnet", "no module")]


def test_cells_fit_the_header():
    cells = row_cells(rows_by_name(entry("mxnet", [1.0]))["mxnet", "float32"])
    assert len(cells) == len(HEADER)
    assert cells[:4] == ["MXNET", "float32", "10.0", "10.0-10.0"]
    assert [format_speed(x) for x in (0.123, 9.876, 98.76, 987.6)] == ["0.12", "9.88", "98.8", "988"]
