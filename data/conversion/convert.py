"""Convert RecordIO and ``.bin`` files to folders of OFRecord parts."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, shorten
from common.files import atomic_directory
from common.progress import progress
from common.wording import counted, sized
from data.conversion.decode_check import find_bad_images, find_undecodable
from data.conversion.parts import write_parts
from data.label_map import LABEL_MAP_FILE, write_label_map
from data.ofrecord.records import SUCCESS_FILE, encode_verification_record, write_dataset_info, write_record
from data.recordio.dataset import TO_ONE_SIZE, RecordIOImages, open_recordio
from data.recordio.options import DEFAULT_OPTIONS, RecordIOOptions
from data.rejected import REJECTED_FILE, WRONG_SIZE, Rejection, summarize, write_rejected
from data.verification.bin_file import read_bin

_log = logging.getLogger(__name__)


def convert_recordio(
    place: str | Path,
    output: str | Path,
    num_parts: int = 1,
    shuffle_seed: int | None = None,
    options: RecordIOOptions = DEFAULT_OPTIONS,
) -> dict[str, Any]:
    """Convert a ``.rec`` file to parts ``output/part-00000``, ..., with ``dataset.json`` and ``_SUCCESS``.

    Args:
        place: the ``.rec`` file, or the folder with train.rec and, optionally, train.idx and property.
        output: folder to create; it appears only once everything is written.
        num_parts: number of parts; their sizes differ by at most one image.
        shuffle_seed: shuffle all images over all parts with this seed; None keeps the order of the file.
        options: what to do about faults of the set.

    Returns:
        The contents of ``dataset.json``: num_images, num_classes, image_size, num_parts, shuffle_seed.

    Raises:
        UserError: the output exists and is not empty, the disk has no room, or the set has problems; the messages name
            all of them.
    """
    if num_parts < 1:
        raise UserError(f"the number of parts is {num_parts}, expected 1 or more")
    _require_free(output)
    images = open_recordio(place, options.ignore_idx, options.renumber_labels, skip_damaged=options.skip_bad)
    _require_room(output, int(images.lengths.sum(dtype=np.int64)))
    kept, rejections = _find_good(images, options)
    if num_parts > len(kept):
        raise UserError(
            f"{images.path} has {counted(len(kept), 'image')}, too few for {num_parts} parts; ask for fewer parts"
        )
    if shuffle_seed is not None:
        kept = kept[np.random.Generator(np.random.Philox(shuffle_seed)).permutation(len(kept))]
    info = {
        "num_images": len(kept),
        "num_classes": images.num_classes,
        "image_size": images.image_size,
        "num_parts": num_parts,
        "shuffle_seed": shuffle_seed,
    }
    with _output_directory(output) as directory:
        paths = [directory / f"part-{number:05d}" for number in range(num_parts)]
        write_parts(images, paths, np.array_split(kept, num_parts), options.num_workers)
        if rejections:
            write_rejected(directory / REJECTED_FILE, rejections)
        if images.original_labels is not None:
            _write_map(directory / LABEL_MAP_FILE, images.original_labels)
        write_dataset_info(directory, info)
    return info


def _find_good(images: RecordIOImages, options: RecordIOOptions) -> tuple[np.ndarray, list[Rejection]]:
    """Return the rows of the images that are converted, int64 [M], and what is left out.

    Raises:
        UserError: an image is bad and bad ones are not to be left out, or all of them are bad.
    """
    rejections = [
        Rejection(f"{images.path.name}, bytes {place.begin} to {place.end}", "damaged record", place.reason)
        for place in images.damage
    ]
    bad = find_bad_images(images, options.num_workers) if options.decode else []
    rejections += [
        Rejection(f"{images.path.name}, key {images.keys[row]} at byte {images.offsets[row]}", reason, details)
        for row, reason, details in bad
    ]
    kept = np.delete(np.arange(len(images)), [row for row, _, _ in bad])
    if rejections:
        if not options.skip_bad or not len(kept):
            way = "" if not len(kept) else "; --skip_bad 1 leaves them out and lists them in rejected.csv"
            if any(each.reason == WRONG_SIZE for each in rejections):
                way += f"; images of other sizes: {TO_ONE_SIZE}"
            counts = f"{len(rejections)} of {len(images)} images are bad ({summarize(rejections)})"
            listed = [f"{each.file}: {each.details}" for each in rejections]
            raise UserError(f"{images.path}: {counts}{way}", *shorten(listed, "bad images"))
        _log.warning(
            "%s: %s left out (%s), listed in %s",
            images.path,
            counted(len(rejections), "image"),
            summarize(rejections),
            REJECTED_FILE,
        )
    if not rejections:
        return kept, []
    missing = images.num_classes - len(np.unique(images.labels[kept]))
    if missing > images.num_classes - len(np.unique(images.labels)):
        _log.warning("%s: %d of the %d classes are left without an image", images.path, missing, images.num_classes)
    return kept, rejections


def convert_bin(path: str | Path, output: str | Path, decode: bool = True, num_workers: int = 1) -> dict[str, Any]:
    """Convert a verification ``.bin`` to ``output/part-0``: one record per image, with the ``issame`` of its pair.

    Args:
        path: the ``.bin`` file.
        output: folder to create.
        decode: decode every image to find the bad ones, which are an error: without one its pair has no meaning.
        num_workers: threads that decode.

    Returns:
        The contents of ``dataset.json``: num_images, num_pairs, num_same, num_parts.

    Raises:
        UserError: the output exists and is not empty, the disk has no room, or the ``.bin`` is missing or damaged.
    """
    _require_free(output)
    bins, issame = read_bin(path)
    if not issame:
        raise UserError(f"{path} contains no pairs")
    _require_room(output, sum(map(len, bins)))
    if decode and (bad := find_undecodable(bins, num_workers)):
        listed = [f"image {number} (of pair {number // 2}): {details}" for number, details in bad]
        raise UserError(f"{path}: {len(bad)} of {len(bins)} images cannot be decoded", *shorten(listed, "bad images"))
    with _output_directory(output) as directory:
        with open(directory / "part-0", "wb") as handle:
            for number, encoded in enumerate(progress(bins, desc="converting", unit="img")):
                write_record(handle, encode_verification_record(encoded, issame[number // 2]))
        info = {"num_images": len(bins), "num_pairs": len(issame), "num_same": sum(issame), "num_parts": 1}
        write_dataset_info(directory, info)
    return info


def _write_map(path: Path, original_labels: np.ndarray) -> None:
    """Write which label became which class, as ``--label_map`` reads it."""
    new_classes = np.full(int(original_labels[-1]) + 1, -1)
    new_classes[original_labels] = np.arange(len(original_labels))
    write_label_map(path, new_classes)


def _require_room(output: str | Path, num_bytes: int) -> None:
    """Check that the disk of ``output`` has ``num_bytes`` free.

    Raises:
        UserError: it has not.
    """
    folder = Path(output).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise UserError(
            f"{output} needs {sized(num_bytes)}, but its disk has {sized(free)} free; "
            "choose another --output_filepath or make room"
        )


def _require_free(output: str | Path) -> None:
    """Check that ``output`` does not exist or is an empty folder.

    Raises:
        UserError: it exists and is not an empty folder.
    """
    output = Path(output)
    if (output / SUCCESS_FILE).exists():
        raise UserError(f"{output} already holds a complete conversion; remove it or choose another --output_filepath")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} exists and is not an empty folder; remove it or choose another --output_filepath")


@contextmanager
def _output_directory(output: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``output``, with ``_SUCCESS``, when the block ends without an exception."""
    output = Path(output)
    try:
        if output.exists():
            output.rmdir()  # checked to be empty; the finished folder takes its place
    except OSError as error:
        raise UserError(
            f"{output} cannot be replaced ({error.strerror}); choose a folder that does not exist"
        ) from error
    with atomic_directory(output) as directory:
        yield directory
        (directory / SUCCESS_FILE).touch()
