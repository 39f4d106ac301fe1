"""Make a training set of a folder of people: RecordIO, the people's names, and what was left out."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common.errors import UserError
from common.files import atomic_directory, atomic_file
from common.progress import progress
from common.wording import counted
from common.workers import map_in_processes
from data.conversion.convert import convert_recordio
from data.photos.prepare import PhotoRules, Prepared, prepare_photo
from data.photos.sheet import Kept, write_photo_sheet
from data.photos.walk import HIDDEN, LOOSE, PeopleFolder, printable
from data.recordio.options import RecordIOOptions
from data.recordio.writer import write_insightface_recordio
from data.rejected import REJECTED_FILE, WRONG_SIZE, Rejection, write_rejected

CLASSES_FILE, IMAGES_FILE, SHEET_FILE, PARTS_FOLDER = "classes.txt", "images.csv", "sheet.jpg", "ofrecord/train"
_SHOWN = 5


@dataclass
class PhotoDataset:
    """What was written.

    Attributes:
        classes: name of each class.
        kept: the images, in the order of their keys 1, 2, ...
        rejections: files that were left out.
        without_images: people of whose photos none was kept, or who have none; they have no class.
    """

    classes: list[str] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    without_images: list[str] = field(default_factory=list)


def write_photo_dataset(
    folder: PeopleFolder, output: str | Path, rules: PhotoRules, num_workers: int = 1, ofrecord: bool = False
) -> PhotoDataset:
    """Write ``output``, which appears once everything is complete.

    It holds train.rec, train.idx and property; classes.txt with a name per class; images.csv with class, photo and
    sharpness of each key; rejected.csv; sheet.jpg with a sample of both; with ``ofrecord`` also parts in
    ofrecord/train.

    Raises:
        UserError: ``output`` exists already, no image is left, or photos have another size and ``rules`` neither align
            nor scale them.
    """
    dataset = PhotoDataset(rejections=list(folder.left_out), without_images=list(folder.empty))
    chunk = 2 if rules.detector is not None else 32
    with atomic_directory(output) as directory:
        with map_in_processes(partial(prepare_photo, rules=rules), _paths(folder), num_workers, chunk) as photos:
            write_insightface_recordio(directory, _images(folder, rules, photos, dataset), None, rules.size)
        with_images = set(dataset.classes)
        dataset.without_images = sorted({*folder.empty, *folder.people} - with_images)
        with atomic_file(directory / CLASSES_FILE) as file:
            file.write(b"".join(os.fsencode(name) + b"\n" for name in dataset.classes))
        with atomic_file(directory / IMAGES_FILE) as file:
            file.write(_images_table(dataset.kept))
        write_rejected(directory / REJECTED_FILE, dataset.rejections)
        write_photo_sheet(directory / SHEET_FILE, folder.root, directory, rules.size, dataset.kept, dataset.rejections)
        if ofrecord:
            convert_recordio(
                directory, directory / PARTS_FOLDER, options=RecordIOOptions(decode=False, num_workers=num_workers)
            )
    return dataset


def _paths(folder: PeopleFolder) -> list[Path]:
    """Return the photos of all people, person by person."""
    return [path for paths in folder.people.values() for path in paths]


def _images(
    folder: PeopleFolder, rules: PhotoRules, photos: Iterator[Prepared], dataset: PhotoDataset
) -> Iterator[tuple[bytes, int]]:
    """Yield (encoded image, class) and note in ``dataset`` what was kept and what was left out.

    ``photos`` are those of ``_paths``, prepared.
    """
    owners, paths = [name for name, paths in folder.people.items() for _ in paths], _paths(folder)
    for owner, path, photo in zip(owners, paths, progress(photos, len(paths), "photos", "photo"), strict=True):
        file = str(path.relative_to(folder.root))
        if photo.fault is not None:
            dataset.rejections.append(Rejection(file, *photo.fault))
            continue
        if not dataset.classes or dataset.classes[-1] != owner:
            dataset.classes.append(owner)
        label = len(dataset.classes) - 1
        dataset.kept.append(Kept(label, file, photo.sharpness))
        yield photo.encoded, label
    _require_images(folder, rules, dataset)


def _require_images(folder: PeopleFolder, rules: PhotoRules, dataset: PhotoDataset) -> None:
    """Check that all photos have a usable size and that at least one image was kept.

    Raises:
        UserError: one of both does not hold; the lines name all reasons with counts and some files.
    """
    root, total = printable(folder.root), sum(map(len, folder.people.values()))
    wrong = [rejection for rejection in dataset.rejections if rejection.reason == WRONG_SIZE]
    if dataset.kept and not wrong:
        return
    if wrong:
        size, sizes = f"{rules.size}x{rules.size}", {rejection.details for rejection in wrong}
        same = f" (all are {sizes.pop()})" if len(sizes) == 1 else ""
        lines = [
            f"{root}: {len(wrong)} of {total} files are not {size} pixels{same}; use --align 1 to detect and align the "
            f"faces, --resize 1 if they are aligned, or set --image_size: {examples(wrong)}"
        ]
    else:
        lines = [f"{root}: none of its {counted(total, 'file')} gives an image"]
    others = [rejection for rejection in dataset.rejections if rejection.reason not in (WRONG_SIZE, HIDDEN, LOOSE)]
    raise UserError(*lines, *(f"{root}: {line}" for line in describe_rejections(others)))


def describe_rejections(rejections: Sequence[Rejection]) -> list[str]:
    """Return a line for each reason, the most frequent first, with its count and some files."""
    by_reason: dict[str, list[Rejection]] = {}
    for rejection in rejections:
        by_reason.setdefault(rejection.reason, []).append(rejection)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return [f"{len(some)} {reason}: {examples(some)}" for reason, some in ordered]


def examples(rejections: Sequence[Rejection]) -> str:
    """Return the first files with their details, for a message."""
    some = [
        printable(rejection.file) + (f" ({rejection.details})" if rejection.details else "")
        for rejection in rejections[:_SHOWN]
    ]
    return ", ".join(some) + (f", and {len(rejections) - _SHOWN} more" if len(rejections) > _SHOWN else "")


def _images_table(kept: Sequence[Kept]) -> bytes:
    """Return images.csv: key, class, photo and sharpness of each image."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("key", *Kept._fields))
    writer.writerows((key, label, file, f"{value:.1f}") for key, (label, file, value) in enumerate(kept, start=1))
    return text.getvalue().encode("utf-8", "surrogateescape")
