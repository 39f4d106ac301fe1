from __future__ import annotations

from pathlib import Path

from settings.places import verification_path


def test_a_folder_of_another_kind_does_not_hide_a_bin(tmp_path: Path) -> None:
    config = {"val_dataset_dir": str(tmp_path)}
    assert verification_path(config, "mine") == tmp_path / "mine"
    (tmp_path / "mine.bin").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.rec").touch()
    assert verification_path(config, "mine") == tmp_path / "mine.bin"
    (tmp_path / "mine" / "part-0").touch()
    assert verification_path(config, "mine") == tmp_path / "mine"
    (tmp_path / "mine" / "part-0").rename(tmp_path / "mine" / "mine.bin")
    assert verification_path(config, "mine") == tmp_path / "mine"
    assert verification_path({**config, "mine_dataset_dir": "elsewhere"}, "mine") == Path("elsewhere")
