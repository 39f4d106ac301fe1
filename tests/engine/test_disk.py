from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from common.errors import UserError
from engine.disk import check_disk, check_snapshots
from engine.memory import MemoryEstimate
from engine.schedule import make_plan
from tests.support.tiny import tiny_config

ESTIMATE = MemoryEstimate(0, 0, 0, 0, 0, 0, snapshot=10**9, in_files=10**6)
Usage = namedtuple("Usage", "free")


def test_mapped_files_need_the_disk(tmp_path: Path) -> None:
    check_disk(ESTIMATE, 2, tmp_path / "new" / "folder")
    with pytest.raises(UserError, match=r"needs \d+\.\d+ GB in .*new for 1000000000 rank\(s\) here"):
        check_disk(ESTIMATE, 10**9, tmp_path / "new")


@pytest.mark.parametrize(
    ("free", "start", "changes", "answer"),
    [
        (3 * 10**9, 0, {"iter_num_in_snapshot": 8}, ""),  # at steps 8, 16 and 20
        (3 * 10**9 - 1, 0, {"iter_num_in_snapshot": 8}, "warning: 3 snapshots of 1.00 GB are planned and 3.00 GB"),
        (2 * 10**9, 9, {"iter_num_in_snapshot": 8}, ""),
        (10**9, 0, {"iter_num_in_snapshot": 1, "ckpt": 3}, ""),
        (10**9 - 1, 0, {"ckpt": 3}, "error"),
        (10**9 - 1, 0, {}, "error"),
        (0, 0, {"ckpt": 0}, ""),
        (0, 20, {}, ""),
        (0, 0, {"save_last_snapshot": False}, ""),
    ],
)
def test_room_for_the_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, start: int, changes: dict, answer: str
) -> None:
    monkeypatch.setattr("engine.disk.shutil.disk_usage", lambda path: Usage(free))
    config = tiny_config(tmp_path, **{"ckpt": 2, "save_last_snapshot": True, **changes})
    plan = make_plan(config, 93)
    if answer == "error":
        with pytest.raises(
            UserError, match=r"a snapshot takes 1.00 GB and 1.00 GB are free in .*models.*--models_root"
        ):
            check_snapshots(config, plan, start, ESTIMATE)
    else:
        found = check_snapshots(config, plan, start, ESTIMATE)
        assert found.startswith(answer) and bool(found) == bool(answer)
        assert not answer or f"are free in {tmp_path}" in found and "enough for 2; make room" in found


def test_mapped_files_on_the_disk_of_the_snapshots_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.disk.shutil.disk_usage", lambda path: Usage(5 * 10**9))
    config = tiny_config(tmp_path, ckpt=2, save_last_snapshot=True)
    plan = make_plan(config, 93)
    assert check_snapshots(config, plan, 0, ESTIMATE, 4 * 10**9, tmp_path / "rows") == ""
    with pytest.raises(
        UserError, match=r"1.00 GB beside 4.50 GB of mapped class rows and 5.00 GB .* --fc7_storage_dir"
    ):
        check_snapshots(config, plan, 0, ESTIMATE, int(4.5e9), tmp_path / "rows")
    monkeypatch.setattr("engine.disk._disk", lambda folder: folder.name)
    assert check_snapshots(config, plan, 0, ESTIMATE, int(4.5e9), tmp_path / "rows") == ""
