"""Lists of people who are in two places under different class numbers: a CSV that a user may write or shorten.

    set_1,class_1,name_1,set_2,class_2,name_2,cosine
    1,3,3,2,0,0,0.81

Sets are numbered 1, 2, ... in the order of the command line. Names and cosine are for the reader; they may be missing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError
from common.files import atomic_file
from common.text_files import read_text, reading_csv

SAME_PEOPLE_FILE = "same_people.csv"
_NEEDED = ("set_1", "class_1", "set_2", "class_2")


class SamePerson(NamedTuple):
    """Two classes that are one person."""

    set_1: int
    class_1: int
    name_1: str
    set_2: int
    class_2: int
    name_2: str
    cosine: float


def write_same_people(path: str | Path, people: Iterable[SamePerson]) -> None:
    """Write the list.

    Raises:
        UserError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SamePerson._fields)
    writer.writerows((*each[:-1], f"{each.cosine:.4f}") for each in people)
    with atomic_file(path) as handle:
        handle.write(text.getvalue().encode("utf-8", "surrogateescape"))


def read_same_people(path: str | Path, num_classes: Sequence[int]) -> list[SamePerson]:
    """Read the list.

    Args:
        path: the CSV.
        num_classes: number of classes of each set.

    Raises:
        UserError: the file cannot be read, lacks a column, or names a set or class that does not exist; the messages
            name all lines.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, keep_bytes=True)))
    with reading_csv(path):
        lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        rows = [(reader.line_num, row) for row in reader]
    if lacking:
        raise UserError(f"{path}: its first line lacks {', '.join(lacking)}; expected {','.join(SamePerson._fields)}")
    people, problems = [], []
    for line, row in rows:
        try:
            numbers = [_number(row, name) for name in _NEEDED]
            for which, label in (numbers[:2], numbers[2:]):
                _check(which, label, num_classes)
            cosine = float(row.get("cosine") or "nan")
        except ValueError as error:
            problems.append(f"{path}, line {line}: {error}")
            continue
        set_1, class_1, set_2, class_2 = numbers
        names = [row.get(name) or "" for name in ("name_1", "name_2")]
        people.append(SamePerson(set_1, class_1, names[0], set_2, class_2, names[1], cosine))
    if problems:
        raise UserError(*problems)
    return people


def _number(row: dict[str, str], column: str) -> int:
    text = (row[column] or "").strip()
    if not text.isdecimal():
        raise ValueError(f"{column} is '{text}', expected a whole number")
    return int(text)


def _check(which: int, label: int, num_classes: Sequence[int]) -> None:
    if not 1 <= which <= len(num_classes):
        raise ValueError(f"set {which} does not exist; expected 1 to {len(num_classes)}, in the order of the command")
    if label >= num_classes[which - 1]:
        raise ValueError(f"class {label} of set {which} does not exist; it has {num_classes[which - 1]} classes")
