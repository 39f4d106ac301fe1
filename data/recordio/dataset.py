"""Open training sets in RecordIO and judge them: ``train.rec``, ``train.idx`` and ``property`` in three common layouts.

- InsightFace: image records under the keys 1..N, then one record per identity (labels [first, last + 1) of its image
  keys, no image), and key 0 written last, with (first identity key, last identity key + 1).
- im2rec: image records only, keys from 0.
- shuffled: image records only, neither key 0 nor ``.idx``.

The label of each image gives its class. Everything that is wrong with a set is said at once.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.wording import counted
from data.image import DecodeError, image_shape
from data.recordio.index import describe_left_out, match_index
from data.recordio.labels import LabelJudge
from data.recordio.layout import describe_joined, describe_ranges, describe_repeats, find_images
from data.recordio.property import PROPERTY_FILE, Property, read_property
from data.recordio.records import unpack_span
from data.recordio.scan import Damage, scan_records

RECORDS_FILE = "train.rec"
TO_ONE_SIZE = (
    "tools/dataset_convert/recordio_2_folder.py writes them out, and folder_2_recordio.py --align 1 or --resize 1 "
    "makes a set of them"
)
"""The remedy, for messages about the size of images."""
JOIN_CHUNKS = ", or join them with tools/dataset_convert/merge_datasets.py (--same_labels 1 if they are of one set)"
_FIRST_IMAGES = 8  # whose size is compared with property
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordIOImages:
    """The image records of one ``.rec`` file, in the order of the file.

    Attributes:
        path: the ``.rec`` file.
        keys: int64 [N], the key of each image (its running number without an ``.idx``).
        offsets: int64 [N], the byte at which each record starts.
        starts: int32 [N], bytes from there to the encoded image; 0 for a record in pieces.
        lengths: int32 [N], bytes of the encoded image; for a record in pieces the bytes of the whole record, whose
            image ``unpack_span`` puts together.
        labels: int32 [N], the class of each image.
        num_classes: by ``property``, else by the labels.
        image_size: height and width in pixels, by ``property``, else by the first image.
        property: the contents of the ``property`` file, or None without one.
        original_labels: int64 [num_classes], the label in the file of each class, if the classes were renumbered.
        damage: places that are not records.
        content: the file, mapped.
    """

    path: Path
    keys: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    num_classes: int
    image_size: int
    property: Property | None
    original_labels: np.ndarray | None
    damage: tuple[Damage, ...]
    content: mmap.mmap

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, rows: Sequence[int] | None = None) -> Iterator[tuple[bytes, int]]:
        """Yield (encoded image, class) of the images ``rows``, or of all in file order.

        Raises:
            UserError: the file cannot be read.
        """
        with open(self.path, "rb") as handle:
            for row in range(len(self)) if rows is None else rows:
                yield self.read_encoded(row, handle.fileno()), int(self.labels[row])

    def read_encoded(self, row: int, handle: int) -> bytes:
        """Return the encoded image ``row``; ``handle`` is a descriptor of the file.

        Raises:
            UserError: the file cannot be read.
        """
        start, length = int(self.starts[row]), int(self.lengths[row])
        begin = int(self.offsets[row]) + start
        try:
            span = os.pread(handle, length, begin)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read at byte {begin}: {error.strerror}") from error
        return span if start else unpack_span(span)[1]


def open_recordio(
    place: str | Path, ignore_idx: bool | None = None, renumber_labels: bool = False, skip_damaged: bool = False
) -> RecordIOImages:
    """List the image records of a set and judge it; reads all headers and the first images.

    Args:
        place: a ``.rec`` file, or a folder with ``train.rec``.
        ignore_idx: read all records of the ``.rec`` without its ``.idx``; False: the images that the ``.idx`` lists;
            None: an ``.idx`` that leaves images out is an error.
        renumber_labels: number the classes 0, 1, 2, ... in the order of the labels.
        skip_damaged: return places that are not records in ``damage`` instead of raising an error.

    Raises:
        UserError: the file is missing, or the set has problems; the messages name all of them.
    """
    path = find_records(place)
    images, problems, notices = survey_recordio(path, ignore_idx, renumber_labels)
    if images.damage and not skip_damaged:
        problems.insert(0, describe_damage(path, images.damage))
    if problems:
        raise UserError(*problems)
    for notice in notices:
        _log.warning("%s", notice)
    return images


def find_records(place: str | Path) -> Path:
    """Return the ``.rec`` file of a folder, or ``place`` if it is not a folder.

    Raises:
        UserError: the file does not exist; the message lists other ``.rec`` files of the folder.
    """
    place = Path(place)
    path = place / RECORDS_FILE if place.is_dir() else place
    if path.is_file():
        return path
    others = sorted(path.name for path in place.glob("*.rec")) if place.is_dir() else []
    if others:
        names = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        several = JOIN_CHUNKS if len(others) > 1 else ""
        raise UserError(f"looked for {path}, which does not exist; found {names}: name the file with --rec{several}")
    found = "is not a file" if path.exists() else "does not exist"
    raise UserError(f"looked for {path}, which {found}; expected the folder with train.rec (and train.idx)")


def survey_recordio(
    path: Path, ignore_idx: bool | None = None, renumber_labels: bool = False
) -> tuple[RecordIOImages, list[str], list[str]]:
    """Return the images of a ``.rec`` file, all problems of the set except damaged places, and notices.

    With problems, ``labels`` (-1 for what is not a class number), ``num_classes`` and ``image_size`` (0 if unknown) are
    only what could be found out. ``open_recordio`` describes the arguments.

    Raises:
        UserError: the file cannot be read, or is empty.
    """
    table = scan_records(path)
    is_image, problems = find_images(table), []
    index = path.with_suffix(".idx")
    keys, indexed = np.arange(len(table)), index.exists() and not ignore_idx
    notices: list[str] = []
    chosen, used = is_image, np.ones(len(table), bool)
    if indexed:
        keys, listed, found = match_index(path, index, table)
        problems += found
        left_out = is_image & ~listed
        if not found and left_out.any():
            text = describe_left_out(path, index, table, left_out)
            if ignore_idx is None:
                problems.append(
                    f"{text}; --ignore_idx 1 reads all records of the .rec, --ignore_idx 0 only those of the .idx"
                )
            else:
                notices.append(f"{text}; they are not used")
                chosen, used = is_image & listed, listed
    problems += describe_joined(path, table, is_image, used)
    notices += describe_repeats(path, table, chosen)
    notices += describe_ranges(path, table, is_image, keys if indexed else None)
    prop = None
    try:
        prop = read_property(path.parent) if (path.parent / PROPERTY_FILE).exists() else None
    except UserError as error:
        problems.append(str(error))
    columns = [column[chosen] for column in (keys, table.offsets, table.starts, table.lengths)]
    labels, num_classes, originals, size = np.empty(0, np.int32), 0, None, 0
    if not chosen.any():
        problems += [] if table.damage else [f"{path} contains no image records"]
    else:
        judge = LabelJudge(path, columns[0], columns[1], table.counts[chosen], table.labels[chosen])
        labels = judge.labels
        if not judge.problems:
            labels, num_classes, originals = judge.classes(prop, renumber_labels)
        size, found = _judge_size(path, columns, prop)
        problems += judge.problems + found
        notices += judge.notices
    images = RecordIOImages(path, *columns, labels, num_classes, size, prop, originals, table.damage, table.content)
    return images, problems, notices


def describe_damage(path: Path, damage: tuple[Damage, ...]) -> str:
    """Return a sentence about the damaged places of a file."""
    first, lost = damage[0], sum(place.end - place.begin for place in damage)
    text = f"{path}: {first.reason}, bytes {first.begin} to {first.end}"
    if len(damage) > 1:
        text += f"; {len(damage) - 1} more damaged places, {lost} bytes in all"
    return f"{text}; copy it again, or --skip_bad 1 leaves these bytes out"


def _judge_size(path: Path, columns: list[np.ndarray], prop: Property | None) -> tuple[int, list[str]]:
    """Return height and width of the images (0 if unknown) and problems."""
    keys, offsets, starts, lengths = (column[:_FIRST_IMAGES].tolist() for column in columns)
    shapes: Counter[tuple[int, int]] = Counter()
    places = {}
    with open(path, "rb") as handle:
        for key, offset, start, length in zip(keys, offsets, starts, lengths, strict=True):
            span = os.pread(handle.fileno(), length, offset + start)
            try:
                shape = image_shape(span if start else unpack_span(span)[1])
            except DecodeError:
                continue  # named when all images are decoded
            shapes[shape] += 1
            places.setdefault(shape, (key, offset))
    if prop:
        height, width = prop.height, prop.width
    elif shapes:
        height, width = shapes.most_common(1)[0][0]
    else:
        return 0, [
            f"{path}: none of its first {counted(len(keys), 'image')} can be decoded, and there is no property file"
        ]
    problems = []
    if shapes and (height, width) not in shapes:
        (found_height, found_width), (key, offset) = next(iter(places.items()))
        way = f"correct or remove {PROPERTY_FILE}"
        if len(shapes) > 1:
            way = f"images of several sizes: {TO_ONE_SIZE}"
        problems.append(
            f"{path.parent / PROPERTY_FILE} says images of {width}x{height} pixels, but key {key} at byte {offset} of "
            f"{path.name} has {found_width}x{found_height}; {way}"
        )
    elif len(shapes) > 1 and not prop and 2 * shapes[height, width] <= shapes.total():
        problems.append(f"{path}: its first {shapes.total()} images have {len(shapes)} sizes; {TO_ONE_SIZE}")
    elif height != width:
        problems.append(f"{path} holds images of {width}x{height} pixels; only square ones can be used; {TO_ONE_SIZE}")
    return height, problems
