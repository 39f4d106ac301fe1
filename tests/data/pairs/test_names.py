from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from data.pairs.names import read_pair_names


def test_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("10\t300\nAnna\t1\t12\nAnna\t3\tBo Lee\t4\n")
    assert read_pair_names(path) == ["Anna/Anna_0001", "Anna/Anna_0012", "Anna/Anna_0003", "Bo Lee/Bo Lee_0004"]
    path.write_text("a/1.jpg a/2.jpg 1\nb/1.jpg c/1.jpg 0\n")
    assert read_pair_names(path) == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg"]


def test_wrong_lines_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("a b\na/1 a/2 1\nx y z w\n")
    with pytest.raises(UserError) as caught:
        read_pair_names(path)
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [f"{path}:1", f"{path}:3"]
    path.write_text("10 300\n")
    with pytest.raises(UserError, match="contains no pairs"):
        read_pair_names(path)
