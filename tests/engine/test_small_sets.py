"""Sets that are too small for what is asked of them are named before a rank is started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.image import encode_jpeg
from data.recordio.writer import write_insightface_recordio
from data.sources.synthetic import SyntheticSource
from engine.preflight import check_run, describe_run
from engine.schedule import Progress
from settings.complete import complete_config
from tests.support.tiny import read_losses, tiny_config, tiny_network, train


def test_a_filter_that_leaves_one_person(tmp_path: Path) -> None:
    face = encode_jpeg(np.zeros((112, 112, 3), np.uint8))
    write_insightface_recordio(tmp_path / "set", [(face, 0), (face, 0), (face, 1)], 2, 112)
    place = {"use_synthetic_data": False, "dataset_dir": str(tmp_path / "set"), "num_classes": 2, "image_size": 112}
    config = tiny_config(tmp_path, network="y1", data_images_filter=2, **place)
    with pytest.raises(UserError, match="^--data_images_filter 2 leaves the images of one person, but training"):
        check_run(complete_config(config, 1, "cpu"), 1)


def test_a_batch_larger_than_the_set_is_one_line(tmp_path: Path) -> None:
    def describe(batch: int) -> list[str]:
        config = tiny_config(tmp_path, train_batch_size=batch)
        lines = describe_run(config, tiny_network(), SyntheticSource(54, 6, 16, 0), 1, Progress())
        return [line for line in lines if line.startswith("note: each batch")]

    assert describe(54) == []
    assert describe(128) == [
        "note: each batch of 128 shows the 54 images 2.4 times and counts as one epoch; a smaller --train_batch_size "
        "counts them more closely"
    ]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("sizes", [{}, {"num_classes": 3, "partial_fc": True, "sample_ratio": 0.1}])
def test_smallest_batches_train(tmp_path: Path, batch: int, sizes: dict[str, float]) -> None:
    config = tiny_config(tmp_path, train_batch_size=batch, train_iter=3, total_img_num=5, **sizes)
    train(config, tiny_network(batch_norm=True))
    assert np.isfinite([loss for _, loss in read_losses(config)]).tolist() == [True] * 3
