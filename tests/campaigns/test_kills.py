"""The short form of the campaign of kills: one command, two kills."""

from __future__ import annotations

from pathlib import Path

from tests.campaigns.kills.campaign import run_campaign


def test_a_killed_merge_is_repeated_to_the_same_files(tmp_path: Path) -> None:
    outcomes = run_campaign(kills=2, each=2, seed=3, names=["merged sets"], folder=tmp_path)
    assert [outcome.faults for own in outcomes.values() for outcome in own if outcome.faults] == []
