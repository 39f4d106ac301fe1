from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from settings.verified_models import expand_models, list_epochs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Snapshots 9, 10 and one that is not complete; epochs 1, 3 and 12 of an MXNet checkpoint; two files."""
    for step in (9, 10):
        (tmp_path / "run" / f"snapshot_{step}").mkdir(parents=True)
        (tmp_path / "run" / f"snapshot_{step}" / "snapshot.json").write_text("{}")
    (tmp_path / "run" / "snapshot_11").mkdir()
    for name in ("m-0001.params", "m-0003.params", "m-0012.params", "m-12.params", "mm-0004.params", "a.onnx", "b.pth"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_models_one_by_one_and_by_pattern(folder: Path) -> None:
    assert expand_models(["run/snapshot_*"]) == ["run/snapshot_9", "run/snapshot_10"]
    assert expand_models([f"{folder}/run/snapshot_*"]) == [f"{folder}/run/snapshot_{step}" for step in (9, 10)]
    assert expand_models(["?.*", "b.pth", "m,3"]) == ["a.onnx", "b.pth", "m,3"]
    assert expand_models(["m,*"]) == ["m,1", "m,3", "m,12"]
    assert expand_models(["m,12|1", "other"]) == ["m,12", "m,1", "other"]  # what opens a model says that it is missing


def test_all_patterns_that_match_nothing_are_listed(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        expand_models(["none_*", "a.onnx", "x,*", "run/snapshot_1?1"])
    lines = str(caught.value).splitlines()
    assert [line.split()[1] for line in lines] == ["none_*", "x,*", "run/snapshot_1?1"]


def test_epochs_of_a_prefix(folder: Path) -> None:
    assert list_epochs("m") == list_epochs(f"{folder}/m") == [1, 3, 12]
    assert list_epochs("missing/m") == list_epochs("run") == []
