"""Write RecordIO sets with labels, keys and images that are not as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.recordio.property import Property, write_property
from data.recordio.records import ImageHeader, RecordWriter, pack_record, write_index

Labels = float | tuple[float, ...]


def write_set(
    folder: Path, labels: Sequence[Labels], images: Sequence[bytes] | None = None, prop: Property | None = None
) -> list[int]:
    """Write train.rec and train.idx (keys from 0) into ``folder``, and property if given; return the offsets.

    Without ``images`` each is some bytes that are not an image, and ``property`` says 112x112 and as many classes as
    needed, so that no image is looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [label if isinstance(label, tuple) else (float(label),) for label in labels]
    with open(folder / "train.rec", "wb") as handle:
        writer = RecordWriter(handle)
        contents = images or [b"not an image %d" % number for number in range(len(rows))]
        offsets = [
            writer.write(pack_record(ImageHeader(row, key), image))
            for key, (row, image) in enumerate(zip(rows, contents, strict=True))
        ]
    write_keys(folder, range(len(rows)), offsets)
    if images is None and prop is None:
        prop = Property(len({row[0] for row in rows}), 112, 112)
    if prop is not None:
        write_property(folder, prop)
    return offsets


def write_keys(folder: Path, keys: Sequence[int], offsets: Sequence[int]) -> None:
    """Write train.idx."""
    with open(folder / "train.idx", "wb") as handle:
        write_index(handle, keys, offsets)
