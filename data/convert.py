"""RecordIO and ``.bin`` files to folders of OFRecord parts."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import atomic_directory
from common.progress import progress
from data.image import DecodeError, image_shape
from data.ofrecord import (
    SUCCESS_FILE,
    encode_train_record,
    encode_verification_record,
    write_dataset_info,
    write_record,
)
from data.recordio import RecordReader
from data.recordio_dataset import RecordIOImages, open_recordio, read_image
from data.verification_bin import read_bin

_log = logging.getLogger(__name__)


def convert_recordio(
    data_dir: str | Path,
    output: str | Path,
    num_parts: int = 1,
    shuffle_seed: int | None = None,
    num_workers: int = 1,
) -> dict[str, Any]:
    """Convert ``data_dir/train.rec`` to parts ``output/part-00000``, ..., with ``dataset.json`` and ``_SUCCESS``.

    Args:
        data_dir: folder with train.rec and, if there are any, train.idx and property.
        output: folder to make; it appears when everything is written.
        num_parts: number of parts; their sizes differ by one image at most.
        shuffle_seed: shuffle all images over all parts with this seed; None keeps the order of train.rec.
        num_workers: processes that write parts side by side.

    Returns:
        What ``dataset.json`` says: num_images, num_classes, image_size, num_parts, shuffle_seed.

    Raises:
        UserError: the output exists, a record is bad, or a label is not below the number of classes in ``property``.
    """
    if num_parts < 1:
        raise UserError(f"the number of parts is {num_parts}, expected 1 or more")
    _refuse_existing(output)
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
            _Part(directory / f"part-{number:05d}", images.path, images.keys[share], images.offsets[share], limit)
            for number, share in enumerate(np.array_split(order, num_parts))
        ]
        classes = _write_parts(tasks, num_workers)
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
    """Convert a verification ``.bin`` to ``output/part-0``: one record an image, each with the ``issame`` of its pair.

    Returns:
        What ``dataset.json`` says: num_images, num_pairs, num_same, num_parts.

    Raises:
        UserError: the output exists, or the ``.bin`` is missing or damaged.
    """
    _refuse_existing(output)
    bins, issame = read_bin(path)
    with _output_directory(output) as directory:
        with open(directory / "part-0", "wb") as handle:
            for number, encoded in enumerate(progress(bins, desc="converting", unit="img")):
                write_record(handle, encode_verification_record(encoded, issame[number // 2]))
        info = {"num_images": len(bins), "num_pairs": len(issame), "num_same": sum(issame), "num_parts": 1}
        write_dataset_info(directory, info)
    return info


@dataclass(frozen=True)
class _Part:
    """A part to write: the image records of ``records`` at ``offsets``, whose labels must be below ``num_classes``."""

    path: Path
    records: Path
    keys: np.ndarray
    offsets: np.ndarray
    num_classes: int | None


def _write_parts(parts: list[_Part], num_workers: int) -> set[int]:
    """Write all parts and return the classes they hold."""
    num_workers = min(num_workers, len(parts))
    if num_workers <= 1:
        return set().union(*(_write_part(part, show=True) for part in parts))
    # Fresh processes rather than forks, so that this may be called from a process with threads.
    pool = ProcessPoolExecutor(num_workers, get_context("spawn"), _prepare_process)
    try:
        futures = [pool.submit(_write_part, part) for part in parts]
        bar = progress(as_completed(futures), total=len(parts), desc="converting", unit="part")
        return set().union(*(future.result() for future in bar))
    except BrokenProcessPool as error:
        raise UserError("a worker process was killed; if memory ran out, use a smaller --num_workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_part(part: _Part, show: bool = False) -> set[int]:
    classes = set()
    rows = zip(part.keys.tolist(), part.offsets.tolist(), strict=True)
    if show:
        rows = progress(rows, total=len(part.keys), desc=part.path.name, unit="img")
    with RecordReader(part.records) as reader, open(part.path, "wb") as handle:
        for key, offset in rows:
            encoded, label = read_image(reader, key, offset)
            if part.num_classes is not None and label >= part.num_classes:
                raise UserError(
                    f"{part.records}: key {key} at byte {offset} has label {label}, "
                    f"but its property file says {part.num_classes} classes; correct property"
                )
            classes.add(label)
            write_record(handle, encode_train_record(encoded, label))
    return classes


def _prepare_process() -> None:
    """Let a worker end at once and silently on Ctrl-C, and with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def end_with_parent() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _num_classes(images: RecordIOImages, classes: set[int]) -> int:
    """Return the number of classes by ``property``, or else by the labels; say where the two differ."""
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
    """Return height and width by ``property``, or else of the first image."""
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


def _refuse_existing(output: str | Path) -> None:
    output = Path(output)
    if (output / SUCCESS_FILE).exists():
        raise UserError(f"{output} holds a complete conversion already; remove it or choose another --output_filepath")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} exists and is no empty folder; remove it or choose another --output_filepath")


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
