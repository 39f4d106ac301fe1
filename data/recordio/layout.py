"""Tell image records from the records of InsightFace's layout that only hold labels.

Those follow the images: one record per identity, with the range [first, last + 1) of its image keys, and at the end the
record with key 0 and the range of the identities' keys. The ranges are float32, exact only up to 2^24, so they are
checked but not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.recordio.records import FRAME_BYTES
from data.recordio.scan import RecordTable

_ID_WORD = 2  # of a header: count of labels, label, id (8 bytes), second id
_FEW, _SAMPLE = 4, 1000  # records whose numbers say something; those looked at first
_EXPECTED = 0.9  # of the number of records: the largest number of a sample is above that
_MOST_SETS = 16


def find_images(table: RecordTable) -> np.ndarray:
    """Return which records are images, bool [N].

    A record without an image is an identity record if it holds two labels, else an image of 0 bytes.
    """
    return table.has_image | (table.counts != 2)


def describe_joined(path: Path, table: RecordTable, is_image: np.ndarray, used: np.ndarray) -> list[str]:
    """Return a problem if images follow identity records.

    Args:
        path: the file.
        table: its records.
        is_image: bool [N].
        used: bool [N], the records that are looked at.
    """
    identities = np.flatnonzero(~is_image & used)
    late = np.flatnonzero(is_image & used)
    late = late[late > identities[0]] if len(identities) else late[:0]
    if not len(late):
        return []
    return [
        f"{path}: images follow the list of identities (the first at byte {table.offsets[late[0]]}): these are two "
        "sets, one after the other, and both number their people from 0; join sets with "
        "tools/dataset_convert/merge_datasets.py"
    ]


def describe_repeats(path: Path, table: RecordTable, is_image: np.ndarray) -> list[str]:
    """Return a notice if the numbers of im2rec's records begin again, as in several sets one after the other.

    im2rec numbers the records of a file 0, 1, 2, ... in any order. Where a sample of these numbers is smaller than the
    number of images explains, all are read.

    Args:
        path: the file.
        table: its records.
        is_image: bool [N].
    """
    rows = np.flatnonzero(is_image & (table.starts > 0))
    if not is_image.all() or len(rows) < _FEW:
        return []
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64)]
    if int(_read_ids(table, sample).max()) + 1 >= _EXPECTED * len(rows):
        return []
    starts = _split_where_repeated(_read_ids(table, rows))
    if not starts or starts[0] == 1:  # all have one number
        return []
    parts = [np.unique(part) for part in np.split(table.labels[rows, 0], starts)]
    labels, counts = np.unique(np.concatenate(parts), return_counts=True)
    shared = int(np.count_nonzero(counts > 1))
    if not shared:
        return []
    return [
        f"{path}: the numbers of the records begin again at byte {table.offsets[rows[starts[0]]]}, as in "
        f"{len(parts)} sets one after the other, and {shared} of {len(labels)} labels occur in several of them: if "
        "these are different people, join the sets with tools/dataset_convert/merge_datasets.py instead"
    ]


def _read_ids(table: RecordTable, rows: np.ndarray) -> np.ndarray:
    """Return the number that the header of each of the records ``rows`` gives it, uint32 (its lower half)."""
    words = np.frombuffer(table.content, "<u4", table.size // 4)
    return words[(table.offsets[rows] + FRAME_BYTES) // 4 + _ID_WORD]


def _split_where_repeated(ids: np.ndarray) -> list[int]:
    """Return where runs of different numbers begin after the first; empty if there are none, or very many."""
    starts = [0]
    while len(starts) <= _MOST_SETS:
        rest = ids[starts[-1] :]
        firsts = np.unique(rest, return_index=True)[1]
        if len(firsts) == len(rest):
            return starts[1:]
        is_first = np.zeros(len(rest), bool)
        is_first[firsts] = True
        starts.append(starts[-1] + int(np.argmin(is_first)))
    return []


def describe_ranges(path: Path, table: RecordTable, is_image: np.ndarray, keys: np.ndarray | None) -> list[str]:
    """Return a notice if the ranges in the identity records disagree with the records.

    Args:
        path: the file.
        table: its records.
        is_image: bool [N].
        keys: int64 [N], the key of each record in the ``.idx``; None without one.
    """
    pairs = np.flatnonzero(~is_image)
    if len(pairs) == 0:
        return []
    ranges, num_images = table.labels[pairs], int(is_image.sum())
    last, ranges = ranges[-1], ranges[:-1]
    claims = []
    if keys is None:
        if last[1] - last[0] != len(ranges):
            claims.append(f"the last record announces {last[1] - last[0]:.0f} identities, {len(ranges)} were found")
    else:
        if keys[pairs[-1]] != 0:
            return [f"{path}: {len(pairs)} records hold two labels and no image, and none has the key 0; not used"]
        own = keys[pairs[:-1]]
        expected = (int(own.min()), int(own.max()) + 1) if len(own) else (0, 0)
        if tuple(last.tolist()) != expected:
            claims.append(f"key 0 says identity keys {tuple(last.astype(int).tolist())}, the .idx {expected}")
        ranges = ranges[np.argsort(own, kind="stable")]
    starts, ends = [*ranges[:, 0], num_images + 1], [1, *ranges[:, 1]]
    wrong = int(np.sum(np.array(starts) != np.array(ends)))
    if wrong:
        claims.append(f"{wrong} identity ranges are not contiguous")
    if not claims:
        return []
    return [
        f"{path}: {'; '.join(claims)} (ranges are float32, exact only up to 16777216); "
        "the records and each image's own label are used"
    ]
