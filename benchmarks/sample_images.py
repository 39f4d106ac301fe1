"""Write the training images of the loader benchmark, the same ones as OFRecord and as RecordIO.

The images are crops of scikit-learn's two colour photographs, scaled to 112x112 like aligned faces, JPEGs of quality
95.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

from data.image import encode_jpeg
from data.ofrecord.records import encode_train_record, write_record
from data.recordio.records import ImageHeader, RecordWriter, pack_record, write_index

CLASSES = 40
SIZE = 112
_SCALES = (1.4, 2.7)  # sizes of the crops before scaling, over SIZE
_SEED = 1


@dataclass(frozen=True)
class SampleFiles:
    """Paths, number and mean size of the images."""

    parts: str
    records: str
    num_parts: int
    num_images: int
    mean_bytes: float


def make_images(num_images: int) -> Iterator[tuple[bytes, int]]:
    """Yield (JPEG, class)."""
    photographs = load_sample_images().images
    generator = np.random.Generator(np.random.Philox(_SEED))
    for index in range(num_images):
        photograph = photographs[index % len(photographs)]
        side = int(SIZE * generator.uniform(*_SCALES))
        top, left = (generator.integers(0, length - side) for length in photograph.shape[:2])
        piece = photograph[top : top + side, left : left + side]
        yield encode_jpeg(cv2.resize(piece, (SIZE, SIZE), interpolation=cv2.INTER_AREA)), index % CLASSES


def write_samples(folder: Path, num_images: int, num_parts: int = 4) -> SampleFiles:
    """Write ``folder/parts`` (OFRecord) and ``folder/train.rec`` with ``train.idx`` (RecordIO)."""
    images = list(make_images(num_images))
    parts, records = folder / "parts", folder / "train.rec"
    parts.mkdir()
    for part in range(num_parts):
        with open(parts / f"part-{part:05d}", "wb") as handle:
            for encoded, label in images[part::num_parts]:
                write_record(handle, encode_train_record(encoded, label))
    with open(records, "wb") as handle:
        writer = RecordWriter(handle)
        offsets = [
            writer.write(pack_record(ImageHeader((float(label),), key), encoded))
            for key, (encoded, label) in enumerate(images)
        ]
    with open(records.with_suffix(".idx"), "wb") as handle:
        write_index(handle, range(num_images), offsets)
    mean_bytes = sum(len(encoded) for encoded, _ in images) / num_images
    return SampleFiles(str(parts), str(records), num_parts, num_images, mean_bytes)
