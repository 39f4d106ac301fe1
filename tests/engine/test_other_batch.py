"""A run that resumes with another batch keeps its epochs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from settings.places import run_directory
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.tiny import read_metrics, tiny_config, tiny_network, train


def newest(config: dict) -> Snapshot:
    return Snapshot.open(newest_snapshot(run_directory(config, config["models_root"])))


@pytest.mark.parametrize("is_old", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_epochs_batches_and_end_of_a_run_with_three_times_the_batch(tmp_path: Path, is_old: bool) -> None:
    """12 steps of 8 images are an epoch of 93; after one and a half of them 4 steps of 24 are one."""
    train(tiny_config(tmp_path, train_iter=18, save_last_snapshot=True), tiny_network())
    first = newest(tiny_config(tmp_path))
    assert (first.about["epoch"], first.about["epochs"], first.about["position"]) == (1, 1.5, 144)
    if is_old:
        about = (first.path / "snapshot.json").read_text()
        (first.path / "snapshot.json").write_text(re.sub(r' "epochs": [\d.]+,\n', "", about))
        assert "epochs" not in newest(tiny_config(tmp_path)).about
    end = {"train_iter": 0, "end_epoch": 3, "warmup_epochs": 2.0}
    config = tiny_config(tmp_path, train_batch_size=24, resume=True, save_last_snapshot=True, **end)
    train(config, tiny_network())
    log = (run_directory(config, config.log_dir) / "train.log").read_text()
    batches = re.findall(r"Epoch\[(\d+)\] Batch \[(\d+)/(\d+)\].*step=(\d+)", log)[18:]
    assert batches == [
        (str(epoch), str(batch), "4", str(step))
        for epoch, batch, step in [(1, 3, 19), (1, 4, 20), (2, 1, 21), (2, 2, 22), (2, 3, 23), (2, 4, 24)]
    ]
    resumed = read_metrics(config)[18:]
    assert [line["epoch"] for line in resumed] == [1, 1, 2, 2, 2, 2]
    assert [line["lr"] for line in resumed] == pytest.approx([0.02 * 7 / 8, *[0.02] * 5])  # 6 of 8 steps are done
    last = newest(config).about
    assert (last["step"], last["position"], last["epoch"], last["epochs"]) == (24, 144 + 6 * 24, 3, 3.0)
