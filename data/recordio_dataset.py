"""Read and write training sets in RecordIO: ``train.rec``, ``train.idx`` and ``property`` in three common layouts.

- InsightFace: image records under the keys 1..N, then one record per identity (labels [first, last + 1) of its image
  keys, no image), and key 0 written last, with (first identity key, last identity key + 1).
- im2rec: image records only, keys from 0.
- shuffled: image records only, neither key 0 nor ``.idx``.

Only records that contain an image are image records. The ranges are float32, exact only up to 2^24, so they are checked
but not used: the ``.idx`` lists the images, and the label of each image gives its class.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from data.recordio import (
    LABEL_PAIR_FRAME,
    ImageHeader,
    RecordReader,
    RecordWriter,
    pack_record,
    read_index,
    unpack_record,
    write_index,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Property:
    """First line of a ``property`` file: number of identities and the images' size in pixels."""

    num_classes: int
    height: int
    width: int


def read_property(directory: str | Path) -> Property:
    """Read ``property``; the further lines of shuffled variants are ignored.

    Raises:
        UserError: the file is missing or its first line is not ``num_classes,height,width``.
    """
    path = Path(directory) / "property"
    try:
        first = path.read_text().split("\n", 1)[0]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected 'num_classes,height,width'") from error
    try:
        return Property(*(int(field) for field in first.split(",")))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: found '{first}', expected 'num_classes,height,width'") from error


def write_property(directory: str | Path, value: Property) -> None:
    """Write ``property``."""
    with atomic_file(Path(directory) / "property") as handle:
        handle.write(_property_line(value))


@dataclass(frozen=True)
class RecordIOImages:
    """The image records of one ``.rec`` file.

    Attributes:
        path: the ``.rec`` file.
        keys: int64 [N], the key of each image (its running number without an ``.idx``).
        offsets: int64 [N], the byte offset of each image record.
        property: the contents of the ``property`` file, or None without one.
    """

    path: Path
    keys: np.ndarray
    offsets: np.ndarray
    property: Property | None

    def __len__(self) -> int:
        return len(self.keys)

    def read(self) -> Iterator[tuple[bytes, int]]:
        """Yield (encoded image, class) of every image, in file order."""
        with RecordReader(self.path) as reader:
            for key, offset in zip(self.keys.tolist(), self.offsets.tolist(), strict=True):
                yield read_image(reader, key, offset)


def read_image(reader: RecordReader, key: int, offset: int) -> tuple[bytes, int]:
    """Return (encoded image, class) of the image record at ``offset``; the class is the first of its labels.

    Raises:
        UserError: the record is damaged, contains no image, or its label is not a class number; the message names file,
            key and offset.
    """
    try:
        header, encoded = unpack_record(reader.read(offset))
    except ValueError as error:
        raise UserError(f"{reader.path}: key {key} at byte {offset}: {error}") from error
    if not encoded:
        raise UserError(f"{reader.path}: key {key} at byte {offset} contains no image")
    label = header.labels[0]
    if not (label >= 0 and label.is_integer()):
        raise UserError(
            f"{reader.path}: key {key} at byte {offset}: label {label} is not a class number (0, 1, 2, ...)"
        )
    return encoded, int(label)


def open_recordio(data_dir: str | Path) -> RecordIOImages:
    """List the image records of ``data_dir/train.rec`` in any of the layouts; reads only the headers.

    Raises:
        UserError: ``train.rec`` does not exist, contains no image, or is damaged.
    """
    directory = Path(data_dir)
    path = directory / "train.rec"
    if not path.is_file():
        raise UserError(
            f"looked for {path}, which does not exist; --data_dir is the folder with train.rec (and train.idx)"
        )
    prop = read_property(directory) if (directory / "property").exists() else None
    index = path.with_suffix(".idx")
    with RecordReader(path) as reader:
        keys, offsets = _indexed_images(reader, *read_index(index)) if index.exists() else _scanned_images(reader)
    if len(keys) == 0:
        raise UserError(f"{path} contains no image records")
    return RecordIOImages(path, keys, offsets, prop)


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
        atomic_file(directory / "property") as property_file,
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
        property_file.write(_property_line(Property(len(firsts), image_size, image_size)))
    return num_images


def _property_line(value: Property) -> bytes:
    return f"{value.num_classes},{value.height},{value.width}\n".encode()


def _scanned_images(reader: RecordReader) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.fromiter(reader.scan_images(), np.int64)
    return np.arange(len(offsets)), offsets


def _indexed_images(reader: RecordReader, keys: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Omit the records without an image, whose frames are exactly as long as one header and two labels."""
    order = np.argsort(offsets, kind="stable")
    keys, offsets = keys[order], offsets[order]
    if offsets[0] < 0 or offsets[-1] >= reader.size:
        raise UserError(
            f"{reader.path}: its .idx points to byte {offsets[-1]}, but the file has {reader.size} bytes; "
            "the file is truncated, or the .idx belongs to another file"
        )
    ranges = {}
    is_image = np.ones(len(keys), bool)
    for row in np.flatnonzero(np.diff(offsets, append=reader.size) == LABEL_PAIR_FRAME).tolist():
        labels = _label_pair(reader.read(int(offsets[row])))
        if labels is not None:
            ranges[int(keys[row])] = labels
            is_image[row] = False
    _warn_about_ranges(reader.path, ranges, int(is_image.sum()))
    return keys[is_image], offsets[is_image]


def _label_pair(payload: bytes) -> tuple[int, int] | None:
    """Return the two labels of a record without an image, None for an image."""
    try:
        header, image = unpack_record(payload)
        first, last = header.labels
        return None if image else (int(first), int(last))
    except ValueError:
        return None


def _warn_about_ranges(path: Path, ranges: dict[int, tuple[int, int]], num_images: int) -> None:
    """Warn in one line if the ranges of the InsightFace layout disagree with the ``.idx``."""
    claimed = ranges.pop(0, None)
    if claimed is None:
        return
    identities = (min(ranges, default=0), max(ranges, default=-1) + 1)
    disagreements = [f"key 0 says identity keys {claimed}, the .idx {identities}"] if claimed != identities else []
    in_order = [ranges[key] for key in sorted(ranges)]
    ends = [1, *(end for _, end in in_order)]
    starts = [*(start for start, _ in in_order), num_images + 1]
    wrong = sum(start != end for start, end in zip(starts, ends, strict=True))
    if wrong:
        disagreements.append(f"{wrong} identity ranges are not contiguous")
    if disagreements:
        _log.warning(
            "%s: %s (ranges are float32, exact only up to 16777216); the .idx and each image's own label are used",
            path,
            "; ".join(disagreements),
        )
