"""The short form of the campaign of damaged files, the same files each time."""

from __future__ import annotations

from collections import Counter

from tests.campaigns.damage.campaign import run_cases, spread
from tests.campaigns.damage.formats import FORMATS

OF_EACH = 6


def test_a_damaged_file_is_read_or_refused_in_clear_lines() -> None:
    outcomes = list(run_cases(spread(OF_EACH * len(FORMATS), seed=0)))
    assert [case for case in outcomes if case["kind"] == "fault"] == []
    kinds = Counter(case["kind"] for case in outcomes)
    assert kinds["read"] > len(FORMATS) / 2 and kinds["refused"] > 2 * len(FORMATS)  # the damage is felt, not always
