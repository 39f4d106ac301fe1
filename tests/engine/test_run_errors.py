"""What a run that ends in an error leaves behind, and what it says."""

from __future__ import annotations

from pathlib import Path

from tests.support.commands import run

FLAGS = (
    "--network y1 --net_blocks 1,1,1,1 --dataset orl --loss arcface --device cpu --use_synthetic_data 1 "
    "--total_img_num 64 --train_iter 4 --train_batch_size 8 --num_workers 0 --loss_print_frequency 1 --lr 1e30"
)


def test_a_run_that_diverges_completes_the_file_of_tensorboard(tmp_path: Path) -> None:
    result = run("insightface_train.py", *FLAGS.split(), folder=tmp_path, code=1)
    assert "error: the loss is nan at step" in result.stderr
    (events,) = tmp_path.glob("output/log/*/events*")
    assert b"train/loss" in events.read_bytes()  # of the step before the error


def test_a_log_dir_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("insightface_train.py", *FLAGS.split(), "--log_dir", "file", folder=tmp_path, code=1)
    assert result.stderr.splitlines()[-1].endswith("cannot be created (Not a directory); choose another --log_dir")
    assert "Traceback" not in result.stderr
