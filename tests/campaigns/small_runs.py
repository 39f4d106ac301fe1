"""Small sets and trainings that the campaigns of kills, full disks and long runs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.verification.bin_file import write_bin
from tests.support.record_sets import small_faces, write_records

PEOPLE, IMAGES, SIZE = 24, 4, 32
_PAIRS = 20
# As small as the command makes one.
_NETWORK = ("--network", "y1", "--net_blocks", "1,1,1,1", "--net_output", "FC", "--emb_size", "32")


def write_sets(folder: Path) -> None:
    """Write ``faces``, a recordio set with a verification set beside it, and ``more``, a second recordio set."""
    faces = small_faces(PEOPLE, IMAGES, SIZE)
    for name, own in (("faces", faces), ("more", faces[: len(faces) // 2])):
        people = 1 + max(label for _, label in own)
        write_records(folder / name, own, f"{people},{SIZE},{SIZE}")
    images = [encoded for encoded, _ in faces]
    firsts = [images[IMAGES * (pair % PEOPLE)] for pair in range(_PAIRS)]
    seconds = [images[IMAGES * (pair % PEOPLE) + 1 + 7 * (pair % 2)] for pair in range(_PAIRS)]
    both = [image for pair in zip(firsts, seconds, strict=True) for image in pair]
    write_bin(folder / "faces" / "lfw.bin", both, [pair % 2 == 0 for pair in range(_PAIRS)])


def training(sets: Path, folder: Path, steps: int, *flags: object) -> list[str]:
    """Return the words of a training, without those for Python.

    Args:
        sets: the folder of ``write_sets``.
        folder: for its outputs: ``models`` and ``log``.
        steps: how many.
        flags: further ones; of one that occurs twice, the last counts.
    """
    words: Sequence[object] = (
        *("insightface_train.py", "--dataset", "emore", "--loss", "arcface", *_NETWORK),
        *("--image_size", SIZE, "--dataset_dir", sets / "faces", "--num_classes", PEOPLE),
        *("--train_batch_size", 4, "--num_workers", 1),
        *("--train_iter", steps, "--lr", 0.01, "--lr_steps", steps, "--save_last_snapshot", 1, "--device", "cpu"),
        *("--models_root", folder / "models", "--log_dir", folder / "log", "--loss_print_frequency", 1),
        *("--do_validation_while_train", 0, *flags),
    )
    return [str(word) for word in words]


def verification(sets: Path, interval: int) -> tuple[object, ...]:
    """Return flags that verify on the small verification set every ``interval`` steps."""
    return (
        *("--do_validation_while_train", 1, "--validation_interval", interval, "--val_targets", "lfw"),
        *("--val_dataset_dir", sets / "faces", "--nrof_folds", 2),
    )
