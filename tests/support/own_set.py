"""The images that a documented command line reads before it can be understood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.image import encode_jpeg
from data.recordio.writer import write_insightface_recordio


def write_own_set(flags: Sequence[str], folder: Path) -> None:
    """Write two faces where ``--dataset_dir`` is, if the flags name no known dataset."""
    if "--dataset_dir" not in flags or "--dataset" in flags:
        return
    place = folder / flags[flags.index("--dataset_dir") + 1]
    if not place.exists():
        face = encode_jpeg(np.full((112, 112, 3), 99, np.uint8))
        write_insightface_recordio(place, [(face, 0), (face, 1)], 2, 112)
