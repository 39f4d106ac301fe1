"""The commands of docs/triplet.md on the ORL faces."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.commands import ROOT, prepare_orl, run


def read_commands() -> list[list[str]]:
    """Return the command lines of the section on the ORL faces, without ``python``."""
    section = (ROOT / "docs/triplet.md").read_text().partition("## On the ORL faces")[2]
    lines = section.split("```")[1].replace("\\\n", " ").strip().splitlines()
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.slow
def test_triplets_improve_what_softmax_learned(tmp_path: Path) -> None:
    prepare_orl(tmp_path)
    printed = [run(*command, folder=tmp_path, timeout=3000).stdout for command in read_commands()]
    softmax, triplets = ([float(value) for value in re.findall(r"Accuracy-Flip: ([\d.]+)", text)] for text in printed)
    assert softmax[-1] > 0.8
    assert len(triplets) == 4 and triplets[-1] > softmax[-1]
