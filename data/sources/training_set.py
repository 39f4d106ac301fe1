"""Open the images that a run trains on, in any format, and compare them with what is written beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.wording import counted
from data.image import DecodeError, image_shape
from data.ofrecord.records import INFO_FILE, read_dataset_info
from data.recordio.dataset import JOIN_CHUNKS, RECORDS_FILE, TO_ONE_SIZE
from data.recordio.property import PROPERTY_FILE, read_property
from data.sources.indexed import IndexedSource
from data.sources.ofrecord import OFRecordSource
from data.sources.recordio import RecordIOSource

_SAMPLE = 16  # images whose size is looked at
_MANY_CLASSES, _SPARSE = 1000, 10  # labels far from dense: so many times more classes than people
_ORL = "faces_orl"  # the set of the demo, which a tool makes
_WITHIN = Path("ofrecord", "train")  # where the converter's examples put the parts of a dataset's folder


@dataclass(frozen=True)
class Facts:
    """What the images of a set show.

    Attributes:
        place: the folder of parts or the ``.rec`` file.
        num_images: number of images.
        num_people: number of classes that have images.
        num_classes: number of classes: of ``dataset.json`` or ``property``, else the largest label plus 1.
        image_size: height and width in pixels of most images of a sample.
    """

    place: Path
    num_images: int
    num_people: int
    num_classes: int
    image_size: int


def find_training_set(place: str | Path) -> Path:
    """Return the folder of OFRecord parts, or the ``.rec`` file, that ``place`` names.

    ``place`` may be either, or the folder of a dataset: with ``train.rec``, or with parts in ``ofrecord/train``. Parts
    win where there are both.

    Raises:
        UserError: there are no images; the message says what was looked for.
    """
    place = Path(place)
    if place.is_file():
        return place
    if not any(place.glob("part-*")):
        if (place / RECORDS_FILE).is_file():
            return place / RECORDS_FILE
        if any((place / _WITHIN).glob("part-*")):
            return place / _WITHIN
        others = sorted(path.name for path in place.glob("*.rec"))
        if others:
            raise UserError(
                f"{place} has no {RECORDS_FILE}, but {', '.join(others)}: name one, --dataset_dir {place / others[0]}"
                f"{JOIN_CHUNKS if len(others) > 1 else ''}"
            )
        raise UserError(_describe_missing(place))
    return place


def _describe_missing(place: Path) -> str:
    """Return what was looked for, and where images may come from."""
    is_there = "no images are there" if place.is_dir() else "which does not exist"
    text = f"looked for OFRecord parts part-00000, ... or {RECORDS_FILE} in {place}, {is_there}; "
    if "," in str(place):
        text += "one place is expected, and tools/dataset_convert/merge_datasets.py joins sets; "
    folder = place.parents[1] if place.parts[-2:] == _WITHIN.parts else place
    if (folder / RECORDS_FILE).is_file():
        return (
            f"{text}{folder / RECORDS_FILE} is there: --dataset_dir {folder} trains on it as it is, or convert it: "
            f"python tools/dataset_convert/mx_recordio_2_ofrecord.py --data_dir {folder} --output_filepath {place}"
        )
    if folder.name == _ORL:
        return f"{text}make the set: python tools/dataset_convert/orl_2_recordio.py --output_dir {folder}"
    return (
        f"{text}name another --dataset_dir, get the set as recordio (train.rec, train.idx, property; see InsightFace's "
        "dataset zoo), or make one of photos: python tools/dataset_convert/folder_2_recordio.py"
    )


def has_images(place: str | Path) -> bool:
    """Tell whether ``find_training_set`` finds images."""
    try:
        find_training_set(place)
    except UserError:
        return False
    return True


def open_training_set(
    place: str | Path, num_classes: int = 0, image_size: int = 112, part_num: int = 0
) -> IndexedSource:
    """Return the images that ``find_training_set`` finds.

    Args:
        place: a folder or a ``.rec`` file.
        num_classes: labels must be below this; 0 takes the number from the labels.
        image_size: required height and width of the images in pixels.
        part_num: required number of parts; 0 accepts any.

    Raises:
        UserError: there are no images, the set is damaged, or a label is not below ``num_classes``.
    """
    found = find_training_set(place)
    if found.is_dir():
        return OFRecordSource(found, num_classes, image_size, part_num)
    if part_num:
        raise UserError(
            f"{found} is one file, but the config expects {counted(part_num, 'part')}; omit --train_data_part_num"
        )
    return RecordIOSource(found, num_classes, image_size)


def read_facts(place: str | Path) -> Facts:
    """Return what the images show: their number, classes and size.

    Raises:
        UserError: there are no images, the set is damaged, its labels are far from dense, or no image of a sample can
            be decoded.
    """
    source = open_training_set(place)
    found, claims = find_training_set(place), _read_claims(source)
    num_classes, people = max(source.num_classes, claims.get("num_classes", 0)), source.index.count_people()
    if num_classes > max(_MANY_CLASSES, _SPARSE * people):
        raise UserError(
            f"{found}: the images show {people} people, but their labels go up to {num_classes - 1}, and each class up "
            "to there takes a row of weights; number the classes 0, 1, 2, ... when you convert the set"
        )
    shapes = _sample_shapes(source)
    if not shapes and "image_size" not in claims:
        raise UserError(f"{found}: none of {counted(min(_SAMPLE, len(source)), 'image')} looked at can be decoded")
    height, width = shapes.most_common(1)[0][0] if shapes else (claims["image_size"],) * 2
    if height != width:
        raise UserError(f"{found} holds images of {width}x{height} pixels; only square ones can be used; {TO_ONE_SIZE}")
    return Facts(found, len(source), people, num_classes, height)


def check_training_set(source: IndexedSource) -> list[str]:
    """Compare the classes and the size that a run assumes, and what is written beside the images, with the images.

    Returns:
        lines about what the images contradict without changing what is trained.

    Raises:
        UserError: the run would train on something else than what is written; the message has a line for each reason.
    """
    place, claims = source.files[0].parent, _read_claims(source)
    file, index, problems, notices = claims.pop("file", None), source.index, [], []
    counted = {"num_images": len(index), "num_parts": len(source.files)}
    differ = [name for name in counted if claims.get(name, counted[name]) != counted[name]]
    if differ:
        problems.append(
            f"{file} says {', '.join(f'{name} {claims[name]}' for name in differ)}, but {place} holds "
            f"{', '.join(str(counted[name]) for name in differ)}: files were added or removed since the conversion, "
            f"and labels of two sets may name different people; tools/dataset_convert/merge_datasets.py joins sets. If "
            f"the files are right, remove {INFO_FILE}"
        )
    claimed = claims.get("num_classes", index.num_classes)
    if claimed < index.num_classes:
        problems.append(
            f"{file} says {claimed} classes, but labels go up to {index.num_classes - 1}; correct or remove {file.name}"
        )
    people = index.count_people()
    empty = source.num_classes - people
    if empty:
        says = f" ({file.name} says {claimed})" if claimed > index.num_classes else ""
        notices.append(
            f"{empty} of the {source.num_classes} classes have no image in {place}{says}; their class rows are never "
            "the right answer"
        )
    if people == 1:
        problems.append(
            f"{place} shows one person, but training compares people; make a set of at least two "
            "(tools/dataset_convert/folder_2_recordio.py takes one subfolder of photos per person)"
        )
    problems += _check_sizes(source, claims.get("image_size"), file, notices)
    if problems:
        raise UserError(*problems)
    return notices


def _check_sizes(source: IndexedSource, claimed: int | None, file: Path | None, notices: list[str]) -> list[str]:
    """Return problems with the sizes of a sample of images, and add to ``notices``."""
    shapes, place, size = _sample_shapes(source), source.files[0].parent, source.image_size
    wrong = {shape: count for shape, count in shapes.items() if shape != (size, size)}
    if wrong:
        found = ", ".join(f"{count} of {width}x{height}" for (height, width), count in wrong.items())
        line = f"of {counted(shapes.total(), 'image')} of {place} looked at, {found} pixels, but image_size is {size}"
        if (size, size) in shapes:
            notices.append(f"{line}: those are bad images (--bad_images)")
        else:
            return [f"{line}; use --image_size or convert the set with resized images"]
    elif claimed not in (None, size) and shapes:
        notices.append(f"{file} says images of {claimed}x{claimed} pixels, they have {size}x{size}")
    return []


def _sample_shapes(source: IndexedSource) -> Counter[tuple[int, int]]:
    """Return how many images of a sample have which height and width; those that cannot be decoded are left out."""
    chosen = np.linspace(0, len(source) - 1, min(_SAMPLE, len(source))).astype(np.int64)
    return Counter(_shapes(source.read_encoded(source.locate(chosen).tolist())))


def _shapes(encoded: list[bytes]) -> Iterator[tuple[int, int]]:
    for data in encoded:
        try:
            yield image_shape(data)
        except DecodeError:
            continue


def _read_claims(source: IndexedSource) -> dict[str, Any]:
    """Return what ``dataset.json`` of parts, or ``property`` of a ``.rec``, says; ``file`` is its path."""
    folder = source.files[0].parent
    if isinstance(source, OFRecordSource):
        info = read_dataset_info(folder) or {}
        names = ("num_images", "num_parts", "num_classes", "image_size")
        return {"file": folder / INFO_FILE} | {name: info[name] for name in names if isinstance(info.get(name), int)}
    if not (folder / PROPERTY_FILE).is_file():
        return {}
    said = read_property(folder)
    return {"file": folder / PROPERTY_FILE, "num_classes": said.num_classes, "image_size": said.height}
