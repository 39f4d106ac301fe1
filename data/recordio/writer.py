"""Write training sets in RecordIO, in the layout of InsightFace: ``train.rec``, ``train.idx`` and ``property``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from common.errors import UserError
from common.files import atomic_file
from data.recordio.property import PROPERTY_FILE, Property
from data.recordio.records import ImageHeader, RecordWriter, pack_record, write_index


def write_insightface_recordio(
    directory: str | Path, images: Iterable[tuple[bytes, int]], num_classes: int | None, image_size: int
) -> int:
    """Write ``train.rec``, ``train.idx`` and ``property`` in the InsightFace layout; ``property`` appears last.

    Args:
        directory: folder to write to; created if missing.
        images: (encoded image, class), sorted by class, because an identity record stores one range of keys.
        num_classes: number of identities, each with at least one image; None: as many as the images show.
        image_size: height and width in pixels, for ``property``.

    Returns:
        The number of images written.

    Raises:
        UserError: ``train.rec`` exists already, or the classes are not 0, 1, ..., num_classes - 1 in this order.
    """
    directory = Path(directory)
    if (directory / "train.rec").exists():
        raise UserError(f"{directory / 'train.rec'} exists already; remove it or choose another folder")
    with (
        atomic_file(directory / PROPERTY_FILE) as property_file,
        atomic_file(directory / "train.idx") as index_file,
        atomic_file(directory / "train.rec") as record_file,
    ):
        writer, offsets, firsts = RecordWriter(record_file), [], []
        for key, (encoded, label) in enumerate(images, start=1):
            if label == len(firsts):
                firsts.append(key)
            elif label != len(firsts) - 1:
                raise UserError(f"image {key} has class {label} after class {len(firsts) - 1}; sort images by class")
            offsets.append(writer.write(pack_record(ImageHeader((float(label),), key), encoded)))
        if num_classes not in (None, len(firsts)):
            raise UserError(f"{directory}: the images show {len(firsts)} classes, expected {num_classes}")
        num_images = len(offsets)
        for first, end in zip(firsts, [*firsts[1:], num_images + 1], strict=True):
            offsets.append(writer.write(pack_record(ImageHeader((first, end), len(offsets) + 1))))
        end_key = len(offsets) + 1
        offsets.append(writer.write(pack_record(ImageHeader((num_images + 1, end_key)))))
        write_index(index_file, [*range(1, end_key), 0], offsets)
        property_file.write(bytes(Property(len(firsts), image_size, image_size)))
    return num_images
