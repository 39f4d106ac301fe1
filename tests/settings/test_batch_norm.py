from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from settings.complete import complete_config
from settings.train_command import resolve_train_config


def complete(folder: Path, flags: str, ranks: int) -> None:
    argv = ["--network", "y1", "--num_classes", "10", "--use_synthetic_data", "1", *flags.split()]
    complete_config(resolve_train_config(argv, folder), ranks, "cpu")


@pytest.mark.parametrize(
    ("flags", "ranks", "advice"),
    [
        ("--train_batch_size 1", 1, "give each rank at least two images$"),
        ("--train_batch_size 2", 2, "at least two images, or --sync_bn 1$"),
        ("--train_batch_size 4 --gradient_accumulation 4", 1, "at least two images, use fewer pieces$"),
        ("--train_batch_size 1 --sync_bn 1", 1, "at least two images$"),
    ],
)
def test_one_image_at_a_time_is_refused(tmp_path: Path, flags: str, ranks: int, advice: str) -> None:
    with pytest.raises(UserError, match=f"BatchNorm fc1 one image at a time.*{advice}"):
        complete(tmp_path, flags, ranks)


@pytest.mark.parametrize(
    ("flags", "ranks"),
    [
        ("--train_batch_size 2", 1),
        ("--train_batch_size 2 --sync_bn 1", 2),
        ("--train_batch_size 1 --freeze_bn 1", 1),
        ("--train_batch_size 4 --gradient_accumulation 2", 1),
    ],
)
def test_two_images_or_other_statistics_are_enough(tmp_path: Path, flags: str, ranks: int) -> None:
    complete(tmp_path, flags, ranks)
