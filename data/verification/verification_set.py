"""Load a verification set into memory, from a ``.bin`` file or from OFRecord parts."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import UserError, shorten
from common.wording import counted
from common.workers import available_cpus, map_in_threads
from data.image import DecodeError, decode_image, image_shape
from data.ofrecord.records import RecordError, decode_verification_record, list_parts, read_part
from data.verification.bin_file import read_bin

_SAMPLE = 16  # images whose size is looked at before a run
_CHUNK = 64  # images that a thread decodes at a time


@dataclass(frozen=True)
class VerificationSet:
    """Pairs of face images. Equal images are stored, and embedded, only once.

    Attributes:
        name: the name of the set, such as "lfw".
        images: uint8 [M, 3, H, W], RGB, the M distinct images.
        index: int64 [2N] into ``images``; pair i consists of images index[2i] and index[2i + 1].
        issame: bool [N], True if the pair shows one person.
    """

    name: str
    images: np.ndarray
    index: np.ndarray
    issame: np.ndarray


def load_verification_set(path: str | Path, name: str, image_size: int = 112, part_num: int = 0) -> VerificationSet:
    """Load the verification set ``name``.

    Args:
        path: a ``.bin`` file, a folder with ``{name}.bin``, or a folder with OFRecord parts (in it or in ``{name}/``).
        name: name of the set.
        image_size: height and width in pixels; images of another size are scaled as in InsightFace.
        part_num: required number of parts; 0 accepts any.

    Raises:
        UserError: the set is not found, or it is damaged.
    """
    return _build(name, _read(Path(path), name, part_num), image_size)


class SetSurvey(NamedTuple):
    """What a set holds, as far as its images need not be decoded.

    Attributes:
        pairs: number of pairs.
        same: those of one person.
        shapes: how many of the first images have which height and width; those that are not images are left out.
    """

    pairs: int
    same: int
    shapes: Counter[tuple[int, int]]


def survey_set(path: str | Path, name: str, part_num: int = 0) -> SetSurvey:
    """Return what a set holds; its images are read, but not decoded.

    Raises:
        UserError: the set is not found, or its file is damaged.
    """
    found = _read(Path(path), name, part_num)
    shapes: Counter[tuple[int, int]] = Counter()
    for encoded in found.bins[:_SAMPLE]:
        with contextlib.suppress(DecodeError):
            shapes[image_shape(encoded)] += 1
    return SetSurvey(len(found.issame), sum(found.issame), shapes)


class _Content(NamedTuple):
    """Images in the order of the pairs, a description of the place of each, and the flag of each pair."""

    path: Path
    bins: list[bytes]
    places: list[str]
    issame: list[bool]


def _read(path: Path, name: str, part_num: int) -> _Content:
    place = _find(path, name, part_num)
    return _from_bin(place) if isinstance(place, Path) else _from_parts(place)


def _find(path: Path, name: str, part_num: int) -> Path | list[Path]:
    """Return the .bin file of a set, or its parts."""
    if path.is_file():
        return path
    if (path / f"{name}.bin").is_file():
        return path / f"{name}.bin"
    for folder in (path / name, path):
        if folder.is_dir() and any(folder.glob("part-*")):
            return list_parts(folder, part_num)
    raise UserError(
        f"verification set '{name}': looked for {path / name}.bin, {path / name}/part-0 and {path}/part-0; "
        f"give the .bin file, or convert with: python tools/dataset_convert/bin_2_ofrecord.py "
        f"--data_dir <folder of {name}.bin> --output_filepath {path} --dataset_name {name}"
    )


def _from_bin(path: Path) -> _Content:
    bins, issame = read_bin(path)
    return _Content(path, bins, [f"{path}: image {i}" for i in range(len(bins))], issame)


def _from_parts(parts: Sequence[Path]) -> _Content:
    bins, places, flags = [], [], []
    for part in parts:
        for offset, payload in read_part(part):
            place = f"{part}: record at byte {offset}"
            try:
                encoded, same = decode_verification_record(payload)
            except RecordError as error:
                raise UserError(f"{place}: {error}") from error
            bins.append(encoded)
            places.append(place)
            flags.append(same)
    if len(bins) % 2:
        raise UserError(
            f"{parts[0].parent} holds {counted(len(bins), 'image')}, expected an even number (two per pair); "
            "convert it again"
        )
    for i in range(0, len(bins), 2):
        if flags[i] != flags[i + 1]:
            raise UserError(f"{places[i]} and the next record are a pair, but their 'issame' differ; convert it again")
    return _Content(parts[0].parent, bins, places, flags[::2])


def _build(name: str, content: _Content, image_size: int) -> VerificationSet:
    path, bins, places, issame = content
    if not bins:
        raise UserError(f"verification set '{name}' contains no pairs; convert it again")
    numbers: dict[bytes, int] = {}
    index = np.array([numbers.setdefault(encoded, len(numbers)) for encoded in bins], np.int64)
    images = np.empty((len(numbers), 3, image_size, image_size), np.uint8)
    distinct = list(numbers)

    def decode(begin: int) -> list[str]:
        """Decode the images of a chunk, outside Python's lock; return what is wrong with them."""
        problems = []
        for number, encoded in enumerate(distinct[begin : begin + _CHUNK], begin):
            try:
                images[number] = decode_image(encoded, image_size, resize=True).transpose(2, 0, 1)
            except DecodeError as error:
                problems.append(f"{places[int(np.argmax(index == number))]}: {error}{_guess_pixels(encoded)}")
        return problems

    with map_in_threads(decode, range(0, len(distinct), _CHUNK), available_cpus()) as chunks:
        problems = [problem for chunk in chunks for problem in chunk]
    if problems:
        way = f"python tools/dataset_convert/check_dataset.py {path} --write_clean OUT leaves out pairs with bad images"
        raise UserError(*shorten(problems, "bad images"), way)
    return VerificationSet(name, images, index, np.array(issame, bool))


def _guess_pixels(encoded: bytes) -> str:
    """Return a hint if bytes that are not an image are as many as the pixels of a square RGB image have."""
    side = math.isqrt(len(encoded) // 3)
    if side < 16 or 3 * side**2 != len(encoded):
        return ""
    return f"; they are as many as {side}x{side} RGB pixels have: store the bytes of a JPEG or PNG file, not the pixels"
