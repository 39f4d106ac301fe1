"""The short forms of the campaigns of damaged files, the same files each time."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from tests.campaigns.damage.campaign import ROOT, run_cases, spread
from tests.campaigns.damage.formats import FORMATS

OF_EACH = 6


def test_a_damaged_file_is_read_or_refused_in_clear_lines() -> None:
    outcomes = list(run_cases(spread(OF_EACH * len(FORMATS), seed=0)))
    assert [case for case in outcomes if case["kind"] == "fault"] == []
    kinds = Counter(case["kind"] for case in outcomes)
    assert kinds["read"] > len(FORMATS) / 2 and kinds["refused"] > 2 * len(FORMATS)  # the damage is felt, not always


def test_every_value_of_a_manifest_may_be_of_another_type() -> None:
    names = ("report.json", "embeddings on their way", "MXNet checkpoint")
    formats = [word for name in names for word in ("--format", name)]
    command = [sys.executable, "-m", "tests.campaigns.damage.json_values", *formats]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith(" files, 0 faults\n") and done.returncode == 0, done.stdout + done.stderr
