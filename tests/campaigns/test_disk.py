"""The short form of the campaign of disks and limits: one command under some conditions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns.disk.campaign import run_campaign

CONDITIONS = ("full disk", "disk for 70 % of the output", "folder without permission", "16 open files")


def test_a_disk_that_does_not_suffice_is_one_line_and_later_the_same_command_finishes(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    outcomes = run_campaign(CONDITIONS, ["recordio to OFRecord"], tmp_path)
    bad = {key: outcome for key, outcome in outcomes.items() if outcome not in ("ok", "not possible here")}
    assert bad == {}, capsys.readouterr().out
    assert "ok" in outcomes.values()
