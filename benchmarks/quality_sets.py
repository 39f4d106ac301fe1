"""The sets of bench_quality: where their files are, and the flags that every training on them has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quality_faces import DRAWN, KINDS, TEST, image_counts, prepare_faces
from common.errors import UserError
from data.drawn_faces import FaceOptions

ORL = "orl"
SETS = (*KINDS, ORL)
DRAWN_STEPS = 500
_ORL_IMAGES = 300


@dataclass(frozen=True)
class QualitySet:
    """A set to train on, and people to verify and identify.

    Attributes:
        name: its name, part of the names of folders.
        pairs: the name of its verification set in reports.
        images: the number of its training images.
        steps: the length of a training.
        train_flags: by flag: what every training on it has.
        verify_flags: by flag: what every verification has.
        prepare: writes the files unless they are there.
    """

    name: str
    pairs: str
    images: int
    steps: int
    train_flags: dict[str, object]
    verify_flags: dict[str, object]
    prepare: Callable[[], object]


def open_sets(names: Sequence[str], folder: Path, options: FaceOptions, steps: int) -> list[QualitySet]:
    """Return the sets ``names``; the drawn faces are in ``folder``, the ORL faces where ``make demo`` has them.

    Args:
        names: which sets.
        folder: for the drawn faces.
        options: their size.
        steps: the length of a training; 0: that of each set.

    Raises:
        UserError: a name is unknown.
    """
    unknown = [name for name in names if name not in SETS]
    if unknown or not names:
        raise UserError(f"--sets {','.join(names)}: unknown set {', '.join(unknown)}; known: {', '.join(SETS)}")
    return [_orl_set(steps) if name == ORL else _drawn_set(name, folder, options, steps) for name in names]


def _drawn_set(kind: str, folder: Path, options: FaceOptions, steps: int) -> QualitySet:
    test = folder / TEST
    return QualitySet(
        kind,
        DRAWN,
        int(image_counts(kind, options).sum()),
        steps or DRAWN_STEPS,
        {
            "network": "y1",
            "net_output": "FC",  # y1's own output layer needs 112 pixels
            "dataset_dir": folder / kind / "train",
            "name": kind,
            "num_classes": options.people,
            "image_size": options.size,
            "train_batch_size": 64,
        },
        {"val_dataset_dir": test, "val_targets": DRAWN, "val_protocols": f"identify:{test / 'people'}"},
        lambda: prepare_faces(folder, kind, options),
    )


def _orl_set(steps: int) -> QualitySet:
    from tools.demo import FACES, PEOPLE, ROOT, STEPS, prepare  # here, because the drawn faces do not need it

    faces = ROOT / FACES / "ofrecord"
    return QualitySet(
        ORL,
        ORL,
        _ORL_IMAGES,
        steps or STEPS,
        {"network": "y1", "dataset": "orl", "dataset_dir": faces / "train"},
        {"val_dataset_dir": faces, "val_targets": ORL, "val_protocols": f"identify:{ROOT / PEOPLE}"},
        prepare,
    )
