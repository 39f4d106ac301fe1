"""Read training images from a RecordIO file as it is, in the order in which the converter writes them into parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from typing_extensions import override

from common.errors import UserError
from data.recordio.dataset import find_records, open_recordio
from data.recordio.property import PROPERTY_FILE
from data.recordio.records import unpack_span
from data.sources.index_file import IndexFile
from data.sources.indexed import IndexedSource
from data.sources.record_index import RecordIndex
from data.sources.record_scan import RECORD

_OF_THE_CONVERTER = ("--ignore_idx", "--renumber_labels", "--skip_bad")  # flags that messages about a set name


class RecordIOSource(IndexedSource):
    """An ``ImageSource``: the image records of a ``.rec`` file, in the order of the file.

    Args:
        place: a ``.rec`` file, or a folder with ``train.rec``.
        num_classes: labels must be below this; 0 takes the number from the labels.
        image_size: required height and width of the images in pixels.

    Raises:
        UserError: the file is missing, ``open_recordio`` finds problems in it, or a label is not below ``num_classes``.
    """

    def __init__(self, place: str | Path, num_classes: int = 0, image_size: int = 112) -> None:
        super().__init__(open_record_index(find_records(place)), num_classes, image_size)

    @override
    def read_encoded(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        spans = super().read_encoded(rows)
        return [
            unpack_span(span)[1] if begin == offset else span  # in pieces, or the image alone
            for span, (_, offset, begin, _) in zip(spans, rows, strict=True)
        ]


def open_record_index(path: Path) -> RecordIndex:
    """Return the index of the images of a ``.rec`` file.

    Raises:
        UserError: ``open_recordio`` finds problems in the set.
    """
    beside = (path.with_suffix(".idx"), path.parent / PROPERTY_FILE)
    store = IndexFile(path.with_name(f".{path.name}-index"), [path, *(file for file in beside if file.is_file())])
    return RecordIndex.open([path], store, partial(_list_images, path))


def _list_images(path: Path) -> list[np.ndarray]:
    """Return ``RECORD`` [N] of the images of a ``.rec`` file, as the only element."""
    try:
        images = open_recordio(path)
    except UserError as error:
        if not any(f"{flag} " in str(error) for flag in _OF_THE_CONVERTER):
            raise
        command = f"python tools/dataset_convert/mx_recordio_2_ofrecord.py --rec {path} --output_filepath DIR"
        raise UserError(
            *str(error).splitlines(), f"a .rec is trained on as it is; to leave out or renumber, convert it: {command}"
        ) from error
    records = np.empty(len(images), RECORD)
    records["offset"], records["image"] = images.offsets, images.starts
    records["length"], records["label"] = images.lengths, images.labels
    return [records]
