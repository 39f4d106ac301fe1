from __future__ import annotations

import json

import pytest

from benchmarks.report import describe_machine, format_machine, format_table, write_json


def test_text_is_aligned_left_and_numbers_right():
    table = format_table(("", "kind", "speed"), [["a", "x", "10.5"], ["longer", "y", "9"]], text_columns=2)
    assert table.splitlines() == ["        kind  speed", "a       x      10.5", "longer  y         9"]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError):
        format_table(("a", "b"), [["1"]])


def test_machine_line_names_cores_and_units():
    assert format_machine({"cpu": "C", "cores": 2, "units": ["avx2"]}) == "C, 2 cores, avx2"
    assert describe_machine()["cores"] >= 1


def test_json_holds_machine_and_content(tmp_path):
    write_json(str(tmp_path / "new" / "numbers.json"), {"tables": [1]})
    content = json.loads((tmp_path / "new" / "numbers.json").read_text())
    assert content["tables"] == [1]
    assert content["machine"] == describe_machine()
