from __future__ import annotations

from argparse import Namespace

import pytest

from common.errors import UserError
from common.flag_checks import check_flags, find_mistakes


def test_all_mistakes_are_listed() -> None:
    args = Namespace(output="", input="a", num_workers=0, min_sharpness=float("nan"), num_part=10**9, image_size=112)
    assert find_mistakes(args, "input", "output") == [
        "--output is empty; give a path",
        "--min_sharpness nan must be at least 0",
        "--num_part 1000000000 must be at most 99999",
        "--num_workers 0 must be at least 1",
    ]
    with pytest.raises(UserError, match="--output is empty"):
        check_flags(args, "output")


def test_a_right_command_line_passes() -> None:
    check_flags(Namespace(output="a", num_workers=1024, seed=0, image_size=None, other=-1), "output")
