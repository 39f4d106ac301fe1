"""A small set in RecordIO as mxnet writes it, with all the format allows: records in pieces, two labels, identities."""

from __future__ import annotations

from pathlib import Path

import mxnet as mx
import numpy as np

from data.image import encode_jpeg
from data.recordio.records import MAGIC_BYTES


def draw_faces(count: int, people: int, size: int) -> list[tuple[bytes, int]]:
    """Return (JPEG, class) of ``count`` images of noise; every fifth JPEG holds the magic of RecordIO."""
    rng = np.random.default_rng(4)
    images = [encode_jpeg(rng.integers(0, 256, (size, size, 3), np.uint8)) for _ in range(count)]
    return [(with_magic(image) if i % 5 == 0 else image, i * people // count) for i, image in enumerate(images)]


def with_magic(jpeg: bytes) -> bytes:
    """Return a JPEG with a comment that holds the magic twice where records are cut: at a multiple of 4 bytes."""
    comment = b"\0\0" + MAGIC_BYTES + b"abcd" + MAGIC_BYTES
    return jpeg[:2] + b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big") + comment + jpeg[2:]


def write_recordio(
    folder: Path, faces: list[tuple[bytes, int]], with_index: bool = True, with_identities: bool = True
) -> Path:
    """Write ``train.rec`` (and ``train.idx``) with mxnet; every third record has two labels. Return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    for key, (image, label) in enumerate(faces, start=1):
        labels = [float(label), 1.0] if key % 3 == 0 else float(label)
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, labels, key, 0), image))
    if with_identities:
        _write_identities(writer, [label for _, label in faces])
    writer.close()
    if not with_index:
        (folder / "train.idx").unlink()
    return folder


def _write_identities(writer: mx.recordio.MXIndexedRecordIO, labels: list[int]) -> None:
    """Write a record for each person, with the range of the keys of its images, and key 0 with that of these keys."""
    end = len(labels) + 1
    for person in range(max(labels) + 1):
        keys = [key for key, label in enumerate(labels, start=1) if label == person]
        header = mx.recordio.IRHeader(0, [float(keys[0]), float(keys[-1] + 1)], end + person, 0)
        writer.write_idx(end + person, mx.recordio.pack(header, b""))
    header = mx.recordio.IRHeader(0, [float(end), float(end + max(labels) + 1)], 0, 0)
    writer.write_idx(0, mx.recordio.pack(header, b""))
