"""Read training images from a folder of OFRecord parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from common.errors import UserError
from data.ofrecord.records import list_parts
from data.sources.index_file import IndexFile
from data.sources.indexed import IndexedSource
from data.sources.ofrecord_scan import scan_part
from data.sources.record_index import RecordIndex
from data.sources.record_scan import scan_files

INDEX_FILE = ".part-index"


class OFRecordSource(IndexedSource):
    """An ``ImageSource``: the records of a folder of parts, in the order of the parts.

    Args:
        directory: folder of the parts.
        num_classes: labels must be below this; 0 takes the number from the labels.
        image_size: required height and width of the images in pixels.
        part_num: required number of parts; 0 accepts any.

    Raises:
        UserError: the folder is missing, it does not hold ``part_num`` parts (or any), a part is damaged, or a label is
            not below ``num_classes``.
    """

    def __init__(self, directory: str | Path, num_classes: int = 0, image_size: int = 112, part_num: int = 0) -> None:
        super().__init__(open_part_index(list_parts(directory, part_num)), num_classes, image_size)


def open_part_index(parts: Sequence[Path]) -> RecordIndex:
    """Return the index of parts that are all in one folder.

    Raises:
        UserError: a part is damaged, or all parts are empty.
    """
    folder = parts[0].parent
    index = RecordIndex.open(parts, IndexFile(folder / INDEX_FILE, parts), partial(scan_files, scan_part, parts))
    if len(index) == 0:
        raise UserError(f"the {len(parts)} part files in {folder} are all empty; convert the dataset again")
    return index
