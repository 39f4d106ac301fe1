"""Training in bfloat16 beside float32 on the ORL faces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import prepare_orl, run

STEPS = 200
# The learning rate is so small that the final loss is far from its minimum, where 2% would be meaningless.
FLAGS = (
    "--dataset orl --network y1 --loss arcface --device cpu --train_batch_size 20 --lr 0.0002 "
    f"--train_iter {STEPS} --loss_print_frequency 1 --iter_num_in_snapshot 0 --save_last_snapshot 0 "
    "--do_validation_while_train 0"
)


def train(folder: Path, bfloat16: int) -> np.ndarray:
    """Return the loss of every step."""
    log = folder / f"log{bfloat16}"
    run(
        "insightface_train.py",
        *FLAGS.split(),
        "--use_bf16",
        str(bfloat16),
        "--log_dir",
        str(log),
        folder=folder,
        timeout=3000,
    )
    (metrics,) = log.glob("*/metrics.jsonl")
    lines = map(json.loads, metrics.read_text().splitlines())
    return np.array([line["loss"] for line in lines if line["kind"] == "train"])


@pytest.mark.slow
def test_the_loss_ends_where_float32s_does(tmp_path: Path) -> None:
    prepare_orl(tmp_path)
    float32, bfloat16 = (train(tmp_path, value) for value in (0, 1))
    assert len(float32) == len(bfloat16) == STEPS
    end, start = float32[-25:].mean(), float32[:25].mean()
    assert 1 < end < 0.7 * start
    assert 0 < abs(bfloat16[-25:].mean() - end) < 0.02 * end
