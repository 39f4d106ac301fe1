"""Read the files in the ``meta`` folder of IJB-B and IJB-C as they are distributed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import UserError, require, shorten
from common.text_files import read_text, reading_csv
from data.ijb.number_table import read_number_table

GALLERIES = {"IJBB": ("S1", "S2"), "IJBC": ("G1", "G2")}
"""The names of the two galleries of each set, as in the files' names."""


class ImageRows(NamedTuple):
    """N images with their templates.

    Attributes:
        names: of the files below ``loose_crop``.
        templates: int64 [N], the template of each image; an image of two templates occurs twice.
        medias: int64 [N], the photo or video that it is from.
        detector_scores: float32 [N], 0 to 1.
    """

    names: Sequence[str]
    templates: np.ndarray
    medias: np.ndarray
    detector_scores: np.ndarray


class PairRows(NamedTuple):
    """P pairs of templates.

    Attributes:
        first: int32 [P], template numbers.
        second: int32 [P].
        same: bool [P], whether they show one person.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


class PeopleRows(NamedTuple):
    """The people of templates, in the order of the template numbers.

    Attributes:
        templates: int64 [T], each once, ascending.
        people: int64 [T], the subject ids.
    """

    templates: np.ndarray
    people: np.ndarray


@dataclass(frozen=True)
class MetaFiles:
    """Where a set's files are.

    Attributes:
        target: IJBB or IJBC.
        folder: the folder with ``meta`` and ``loose_crop``.
    """

    target: str
    folder: Path

    @property
    def images(self) -> Path:
        """The folder of the images."""
        return self.folder / "loose_crop"

    @property
    def landmarks(self) -> Path:
        """The list of images with landmarks and detector scores."""
        return self._meta("name_5pts_score.txt")

    @property
    def medias(self) -> Path:
        """The list of images with templates and medias."""
        return self._meta("face_tid_mid.txt")

    @property
    def pairs(self) -> Path:
        """The pairs of templates."""
        return self._meta("template_pair_label.txt")

    @property
    def galleries(self) -> dict[str, Path]:
        """The files of the two galleries by their names."""
        return {name: self._meta(f"1N_gallery_{name}.csv") for name in GALLERIES[self.target]}

    @property
    def probes(self) -> Path:
        """The file of the probes."""
        return self._meta("1N_probe_mixed.csv")

    def _meta(self, name: str) -> Path:
        return self.folder / "meta" / f"{self.target.lower()}_{name}"


def find_meta(folder: str | Path, target: str = "") -> MetaFiles:
    """Find the set in a folder with ``meta``, or in the folder above.

    Args:
        folder: what was distributed, such as ``IJBC``, or the folder that holds ``IJBB`` and ``IJBC``.
        target: IJBB or IJBC; empty: the one that is there.

    Raises:
        UserError: neither is there, or both are and ``target`` is empty.
    """
    folder = Path(folder)
    targets = [target] if target else list(GALLERIES)
    places = [MetaFiles(each, place) for each in targets for place in (folder, folder / each)]
    found = [files for files in places if files.medias.is_file()]
    names = " or ".join(f"meta/{each.lower()}_face_tid_mid.txt" for each in targets)
    require(bool(found), f"--data_dir {folder} has no {names}; give the folder with meta and loose_crop")
    require(len(found) == 1, f"--data_dir {folder} holds {' and '.join(f.target for f in found)}; choose by --target")
    return found[0]


def read_images(files: MetaFiles) -> ImageRows:
    """Read the images, their templates and detector scores.

    Raises:
        UserError: a file is missing, a line cannot be read, or the two lists differ in their images.
    """
    medias = _read_words(files.medias, 3, "image, template and media")
    landmarks = _read_words(files.landmarks, 12, "image, ten landmarks and a score")
    names = [words[0] for words in medias]
    require(
        len(medias) == len(landmarks),
        f"{files.medias} has {len(medias)} images, {files.landmarks} {len(landmarks)}; they must be the same",
    )
    different = [number for number, words in enumerate(landmarks) if words[0] != names[number]]
    if different:
        first = different[0]
        raise UserError(
            f"{files.landmarks}: image {first + 1} is '{landmarks[first][0]}', in {files.medias.name} it is "
            f"'{names[first]}' ({len(different)} differ); both lists must have one order"
        )
    numbers = _to_numbers(files.medias, [words[1:] for words in medias], np.int64)
    scores = _to_numbers(files.landmarks, [words[-1:] for words in landmarks], np.float32)[:, 0]
    bad = np.flatnonzero(~np.isfinite(scores))
    require(not len(bad), f"{files.landmarks}: the score of {names[bad[0]] if len(bad) else ''} is not a number")
    return ImageRows(names, numbers[:, 0], numbers[:, 1], scores)


def read_pairs(files: MetaFiles, images: ImageRows) -> PairRows:
    """Read the pairs of templates.

    Raises:
        UserError: the file is missing, a line cannot be read, a template has no image, or all pairs have one label.
    """
    path = files.pairs
    table = read_number_table(path, 3)
    bad = np.flatnonzero(table[:, 2] > 1)
    require(not len(bad), f"{path}: pair {bad[0] + 1 if len(bad) else 0} has a label that is not 0 or 1")
    _require_known(path, table[:, :2].ravel(), images)
    same = table[:, 2] == 1
    for label, meaning in ((True, "of one person"), (False, "of two people")):
        require(bool((same == label).any()), f"{path} has no pair {meaning}; both kinds are needed")
    return PairRows(np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1]), same)


def read_people(path: Path, images: ImageRows) -> PeopleRows:
    """Read a gallery or the probes: a heading, then template and subject, and columns that are not used.

    Raises:
        UserError: the file is missing, a line cannot be read, a template has two subjects, or no image.
    """
    with reading_csv(path):
        rows = [row for row in csv.reader(read_text(path).splitlines()[1:]) if row]
    short = next((number for number, row in enumerate(rows, 2) if len(row) < 2), None)
    require(short is None, f"{path} line {short}: expected template and subject, separated by a comma")
    require(bool(rows), f"{path} has no templates")
    numbers = _to_numbers(path, [row[:2] for row in rows], np.int64)
    templates, first, places = np.unique(numbers[:, 0], return_index=True, return_inverse=True)
    people = numbers[first, 1]
    other = np.flatnonzero(people[places] != numbers[:, 1])
    require(not len(other), f"{path}: template {numbers[other[0], 0] if len(other) else ''} has two subjects")
    _require_known(path, templates, images)
    return PeopleRows(templates, people)


def _read_words(path: Path, count: int, what: str) -> list[list[str]]:
    """Return the words of each line that is not empty."""
    lines = [line.split() for line in read_text(path, keep_bytes=True).splitlines()]
    bad = next((number for number, words in enumerate(lines, 1) if words and len(words) != count), None)
    require(bad is None, f"{path} line {bad}: expected {count} words: {what}")
    lines = [words for words in lines if words]
    require(bool(lines), f"{path} is empty")
    return lines


def _to_numbers(path: Path, words: Sequence[Sequence[str]], dtype: type) -> np.ndarray:
    """Return words as numbers of a type.

    Raises:
        UserError: a word is not a number, or one of more than 64 bits.
    """
    try:
        return np.array(words).astype(dtype)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path}: a word is not a number ({error})") from error


def _require_known(path: Path, templates: np.ndarray, images: ImageRows) -> None:
    """Check that the templates have images."""
    largest = int(max(templates.max(), images.templates.max()))
    if largest < 1 << 26:
        known = np.zeros(largest + 1, bool)
        known[images.templates] = True
        unknown = np.unique(templates[~known[templates]])
    else:
        unknown = np.setdiff1d(templates, images.templates)
    if len(unknown):
        raise UserError(
            *shorten([f"{path}: template {number} has no image" for number in unknown.tolist()], "templates", 3)
        )
