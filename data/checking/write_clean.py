"""Write a checked set without what is bad."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic_directory
from common.wording import counted
from data.checking.check import CheckedSet
from data.checking.clean import choose_images, choose_pairs
from data.editing.renumber import renumber
from data.editing.write_set import WRITERS, NewSet, Selection
from data.label_map import LABEL_MAP_FILE, write_label_map
from data.listing import Listing
from data.listing.ofrecord import PartListing
from data.ofrecord.records import SUCCESS_FILE, encode_verification_record, write_dataset_info, write_record
from data.rejected import REJECTED_FILE, Rejection, summarize, write_rejected
from data.verification.bin_file import write_bin


def write_clean(output: Path, checked: CheckedSet, kinds: Sequence[str]) -> str:
    """Write the images that stay, in the form of the set, with ``label_map.txt`` and ``rejected.csv``.

    A verification set stays in pairs; a ``.bin`` is one file, and its ``rejected.csv`` lies beside it.

    Returns:
        a line that says what was written.

    Raises:
        UserError: no image stays, the labels cannot be used, or the output exists or cannot be written.
    """
    listing = checked.listing
    if listing.label_problems:
        raise UserError(*listing.label_problems)
    if checked.image_size is None and listing.kind != "folder" and listing.issame is None:
        raise UserError(f"{listing.path}: most of its images are not square, so it cannot be trained on")
    stays, rejected = choose_images(checked, kinds)
    if listing.issame is not None:
        return _write_pairs(output, listing, choose_pairs(stays), rejected)
    numbers = np.flatnonzero(stays)
    labels = checked.inspection.facts["label"][numbers]
    num_old = max(int(checked.inspection.facts["label"].max()) + 1, listing.num_classes or 0)
    write_subset(output, listing, numbers, renumber(labels, num_old), labels, checked.image_size, rejected)
    kept = len(np.unique(labels))
    lost = len(checked.classes.labels) - kept
    return (
        f"{output}: {len(numbers)} of {counted(len(listing), 'image')} of {counted(kept, 'person', 'people')}, "
        f"--num_classes {kept}; "
        f"left out: {summarize(rejected) or 'nothing'}" + (f"; people without an image left: {lost}" if lost else "")
    )


def write_subset(
    output: Path,
    listing: Listing,
    numbers: np.ndarray,
    new_classes: np.ndarray,
    labels: np.ndarray,
    image_size: int | None,
    rejected: Sequence[Rejection],
) -> None:
    """Write some images of a set in its own form, with ``label_map.txt`` and ``rejected.csv``.

    Args:
        output: folder to create.
        listing: the set.
        numbers: int64 [M], the images.
        new_classes: int64 [C], the new class of each old one; -1 for one that is left out.
        labels: int [M], the old class of each image.
        image_size: height and width of the images, None if they differ.
        rejected: the others.

    Raises:
        UserError: the output exists or cannot be written, or an image can no longer be read.
    """
    new_labels = new_classes[labels].astype(np.int64)
    num_classes = int(new_classes.max()) + 1
    names = None
    if listing.names:
        _, firsts = np.unique(new_classes, return_index=True)
        names = [listing.class_name(int(old)) for old in firsts if new_classes[old] >= 0]
    parts = len(listing.parts) if isinstance(listing, PartListing) else 1
    new = NewSet([Selection(listing, numbers, new_labels)], num_classes, image_size, names, parts)
    about = [f"classes of {listing.path.name} that became classes of {output.name}"]
    if listing.kind == "folder":
        with atomic_directory(output, many_files=True) as directory:
            WRITERS[listing.kind](directory, new)
        # A folder of photos holds people's folders alone, so the lists lie beside it.
        write_label_map(output.with_name(f"{output.name}.{LABEL_MAP_FILE}"), new_classes, about)
        write_rejected(output.with_name(f"{output.name}.{REJECTED_FILE}"), rejected)
        return
    with atomic_directory(output) as directory:
        WRITERS[listing.kind](directory, new)
        write_label_map(directory / LABEL_MAP_FILE, new_classes, about)
        write_rejected(directory / REJECTED_FILE, rejected)


def _write_pairs(output: Path, listing: Listing, stays: np.ndarray, rejected: Sequence[Rejection]) -> str:
    """Write the pairs that stay (bool [N / 2])."""
    if not stays.any():
        raise UserError(f"{listing.path}: none of its {len(stays)} pairs would stay; see the list above")
    numbers = np.flatnonzero(np.repeat(stays, 2))
    images, issame = [found.encoded for found in listing.read(numbers)], listing.issame[stays].tolist()
    if listing.kind == "bin":
        write_bin(output, images, issame)
        write_rejected(output.with_name(f"{output.stem}.{REJECTED_FILE}"), rejected)
    else:
        with atomic_directory(output) as directory:
            with open(directory / "part-0", "wb") as handle:
                for number, encoded in enumerate(images):
                    write_record(handle, encode_verification_record(encoded, issame[number // 2]))
            info = {"num_images": len(images), "num_pairs": len(issame), "num_same": sum(issame), "num_parts": 1}
            write_dataset_info(directory, info)
            write_rejected(directory / REJECTED_FILE, rejected)
            (directory / SUCCESS_FILE).touch()
    return f"{output}: {len(issame)} of {counted(len(stays), 'pair')}; left out: {summarize(rejected) or 'nothing'}"
