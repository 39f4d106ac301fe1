"""The list of images that a command left out: ``rejected.csv`` with the columns file and reason."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from common.files import atomic_file

REJECTED_FILE = "rejected.csv"

NOT_DECODABLE, WRONG_SIZE = "not decodable", "wrong size"
"""Reasons that all commands share."""


class Rejection(NamedTuple):
    """An image that was left out: its file (with the key of its record, if it has one), the kind of fault, details."""

    file: str
    reason: str
    details: str = ""


def write_rejected(path: str | Path, rejections: Iterable[Rejection]) -> None:
    """Write the list; names that are not UTF-8 keep their bytes.

    Raises:
        UserError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Rejection._fields)
    writer.writerows(rejections)
    with atomic_file(path) as handle:
        handle.write(text.getvalue().encode("utf-8", "surrogateescape"))


def summarize(rejections: Iterable[Rejection]) -> str:
    """Return the counts by reason, the most frequent first: ``3 no face, 1 not decodable``."""
    counts = Counter(rejection.reason for rejection in rejections)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
