"""A set with three bad pictures among 300: trained through with --bad_images skip, or stopped and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from data.image import encode_jpeg
from data.rejected import REJECTED_FILE
from settings.places import run_directory
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.bad_images import make_faces
from tests.support.ranks import run_ranks
from tests.support.recordio_set import write_recordio
from tests.support.tiny import read_losses, read_metrics, tiny_config

PROGRAM = Path(__file__).parent / "bad_images_program.py"
FAULTS = (b"<html>404 not found</html>", b"\xff\xd8 broken", encode_jpeg(np.zeros((20, 20, 3), np.uint8)))
RUN = {
    "use_synthetic_data": False,
    "num_classes": 30,
    "train_batch_size": 30,
    "train_iter": 14,
    "gradient_accumulation": 3,
    "num_workers": 0,
}
# The second bag is the first one with bad images.
BAGS = {"triplet_bag_size": 30, "train_batch_size": 12, "gradient_accumulation": 1, "triplet_alpha": 0.5}
CASES = {"adaface": (RUN, 300, (77, 150, 207)), "triplet": ({**RUN, **BAGS}, 90, (10, 44, 78))}


def read_log(config: Any) -> str:
    return (run_directory(config, config.log_dir) / "train.log").read_text()


def read_statistics(config: Any) -> dict[str, np.ndarray]:
    """Return the running means and variances of BatchNorm of the last snapshot."""
    snapshot = newest_snapshot(run_directory(config, config.models_root))
    arrays = load_file(snapshot / "backbone.safetensors")
    return {name: array for name, array in arrays.items() if name.endswith(("_moving_mean", "_moving_var"))}


@pytest.mark.parametrize(
    ("loss", "ranks"),
    [
        ("adaface", 2),
        pytest.param("adaface", 1, marks=pytest.mark.slow),
        pytest.param("triplet", 1, marks=pytest.mark.slow),
        pytest.param("triplet", 2, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_resumes_to_what_skipping_gives(tmp_path: Path, loss: str, ranks: int) -> None:
    settings, num_images, bad = CASES[loss]
    write_recordio(tmp_path / "train", make_faces(dict(zip(bad, FAULTS, strict=True)), num_images))
    settings = {**settings, "loss": loss, "dataset_dir": str(tmp_path / "train")}
    stop = {"folder": str(tmp_path / "stop"), "config": {**settings, "num_workers": 1}}
    skip = {"bad_images": "skip"}
    resumed = {**stop, "config": {**settings, **skip, "resume": True}}
    through = {"folder": str(tmp_path / "skip"), "config": {**settings, **skip}}
    answers = run_ranks(PROGRAM, ranks, [stop, resumed, through])
    assert all(answer == answers[0] for answer in answers)
    error, *others = answers[0]
    assert others == ["", ""]
    assert error.count("train.rec: record at byte ") == len(error.splitlines()) >= 1
    assert error.endswith("; --bad_images skip takes another image in its place")

    stopped, straight = (tiny_config(tmp_path / name, loss) for name in ("stop", "skip"))
    root = run_directory(stopped, stopped.models_root)
    about = Snapshot.open(newest_snapshot(root)).about
    assert (root / f"snapshot_{about['step']}").is_dir() and 0 < about["step"] < 14
    assert f"stopped after step {about['step']}; resume with --resume 1" in read_log(stopped)
    assert "changed since the snapshot: bad_images 'stop' -> 'skip'" in read_log(stopped)
    expected = read_losses(straight)
    assert [step for step, _ in expected] == list(range(1, 15))
    assert read_losses(stopped) == expected

    listed = (run_directory(straight, straight.log_dir) / REJECTED_FILE).read_text().splitlines()
    assert listed[0] == "file,reason,details" and len(listed) == 4
    assert sorted(line.split(",")[1] for line in listed[1:]) == ["not decodable", "not decodable", "wrong size"]
    counts = [line.get("bad_images", 0) for line in read_metrics(straight)]
    assert counts == sorted(counts) and counts[-1] >= 3
    assert f"bad images so far: {counts[-1]}, of 3 different records (2 not decodable, 1 wrong size)" in (
        read_log(straight)
    )


# With triplets batches 0 to 2 are the first bag, 3 to 9 its triplets, and 11 is in the middle of the second bag.
@pytest.mark.parametrize(("loss", "batch"), [pytest.param("adaface", 5, marks=pytest.mark.slow), ("triplet", 11)])
def test_a_rank_that_cannot_read_lets_all_save_first(tmp_path: Path, loss: str, batch: int) -> None:
    """The step in which one rank of two has no batch leaves no trace in losses and running statistics."""
    settings, num_images, _ = CASES[loss]
    write_recordio(tmp_path / "train", make_faces({}, num_images))
    settings = {**settings, "loss": loss, "train_iter": 8, "save_last_snapshot": True}
    settings = {**settings, "dataset_dir": str(tmp_path / "train")}
    broken = {"folder": str(tmp_path / "broken"), "config": settings, "unreadable": [batch, 1]}
    resumed = {"folder": broken["folder"], "config": {**settings, "resume": True}}
    straight = {"folder": str(tmp_path / "straight"), "config": settings}
    answers = run_ranks(PROGRAM, 2, [broken, resumed, straight])
    assert answers == [["part-00000 cannot be read: Input/output error", "", ""]] * 2
    losses = [read_losses(tiny_config(tmp_path / name, loss)) for name in ("broken", "straight")]
    assert len(losses[0]) == 8 and losses[0] == losses[1]
    assert "resumed from" in read_log(tiny_config(tmp_path / "broken", loss))
    ended, expected = (read_statistics(tiny_config(tmp_path / name, loss)) for name in ("broken", "straight"))
    assert ended.keys() == expected.keys() != set()
    for name, values in expected.items():  # one snapshot more, which averages them over the ranks, rounds once more
        np.testing.assert_allclose(ended[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
