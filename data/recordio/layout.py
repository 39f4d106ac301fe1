"""Tell image records from the records of InsightFace's layout that only hold labels.

Those follow the images: one record per identity, with the range [first, last + 1) of its image keys, and at the end the
record with key 0 and the range of the identities' keys. The ranges are float32, exact only up to 2^24, so they are
checked but not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.recordio.scan import RecordTable


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
