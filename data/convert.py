"""Convert RecordIO and ``.bin`` files to folders of OFRecord parts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import atomic_directory
from common.progress import progress
from data.convert_parts import PartTask, write_parts
from data.image import DecodeError, image_shape
from data.ofrecord import SUCCESS_FILE, encode_verification_record, write_dataset_info, write_record
from data.recordio_dataset import RecordIOImages, open_recordio
from data.verification_bin import read_bin

_log = logging.getLogger(__name__)


def convert_recordio(
    data_dir: str | Path, output: str | Path, num_parts: int = 1, shuffle_seed: int | None = None, num_workers: int = 1
) -> dict[str, Any]:
    """Convert ``data_dir/train.rec`` to parts ``output/part-00000``, ..., with ``dataset.json`` and ``_SUCCESS``.

    Args:
        data_dir: folder with train.rec and, optionally, train.idx and property.
        output: folder to create; it appears only once everything is written.
        num_parts: number of parts; their sizes differ by at most one image.
        shuffle_seed: shuffle all images over all parts with this seed; None keeps the order of train.rec.
        num_workers: processes that write parts side by side.

    Returns:
        The contents of ``dataset.json``: num_images, num_classes, image_size, num_parts, shuffle_seed.

    Raises:
        UserError: the output exists and is not empty, a record is bad, or a label is not below the number of classes
            in ``property``.
    """
    if num_parts < 1:
        raise UserError(f"the number of parts is {num_parts}, expected 1 or more")
    _require_free(output)
    images = open_recordio(data_dir)
    if num_parts > len(images):
        raise UserError(f"{images.path} has {len(images)} images, too few for {num_parts} parts; ask for fewer parts")
    order = np.arange(len(images))
    if shuffle_seed is not None:
        order = np.random.Generator(np.random.Philox(shuffle_seed)).permutation(order)
    image_size = _image_size(images)
    with _output_directory(output) as directory:
        limit = images.property.num_classes if images.property else None
        tasks = [
            PartTask(directory / f"part-{number:05d}", images.path, images.keys[share], images.offsets[share], limit)
            for number, share in enumerate(np.array_split(order, num_parts))
        ]
        classes = write_parts(tasks, num_workers)
        info = {
            "num_images": len(images),
            "num_classes": _num_classes(images, classes),
            "image_size": image_size,
            "num_parts": num_parts,
            "shuffle_seed": shuffle_seed,
        }
        write_dataset_info(directory, info)
    return info


def convert_bin(path: str | Path, output: str | Path) -> dict[str, Any]:
    """Convert a verification ``.bin`` to ``output/part-0``: one record per image, with the ``issame`` of its pair.

    Returns:
        The contents of ``dataset.json``: num_images, num_pairs, num_same, num_parts.

    Raises:
        UserError: the output exists and is not empty, or the ``.bin`` is missing or damaged.
    """
    _require_free(output)
    bins, issame = read_bin(path)
    with _output_directory(output) as directory:
        with open(directory / "part-0", "wb") as handle:
            for number, encoded in enumerate(progress(bins, desc="converting", unit="img")):
                write_record(handle, encode_verification_record(encoded, issame[number // 2]))
        info = {"num_images": len(bins), "num_pairs": len(issame), "num_same": sum(issame), "num_parts": 1}
        write_dataset_info(directory, info)
    return info


def _num_classes(images: RecordIOImages, classes: set[int]) -> int:
    """Return the number of classes in ``property``, else in the labels; warn if the two differ."""
    if images.property is None:
        return max(classes) + 1
    if len(classes) < images.property.num_classes:
        _log.warning(
            "%s: its property file says %d classes, but the images show %d",
            images.path,
            images.property.num_classes,
            len(classes),
        )
    return images.property.num_classes


def _image_size(images: RecordIOImages) -> int:
    """Return height and width from ``property``, else from the first image."""
    if images.property is not None:
        height, width = images.property.height, images.property.width
    else:
        try:
            height, width = image_shape(next(images.read())[0])
        except DecodeError as error:
            raise UserError(f"{images.path}: the image at byte {images.offsets[0]}: {error}") from error
    if height != width:
        raise UserError(f"{images.path} holds images of {width}x{height} pixels; only square ones can be used")
    return height


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
