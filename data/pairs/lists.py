"""Read lists of pairs of photographs: LFW's ``pairs.txt``, and lines ``path path 0/1`` as in ``pairs_label.txt``.

Every list keeps its order, so that the folds of LFW stay what they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError, shorten
from common.text_files import read_lines
from common.wording import counted

_HEADER = re.compile(r"\d+(\s+\d+)?")
_FORMS = "'name 1 2', 'name1 1 name2 2' or 'path path 0/1'"


class Pair(NamedTuple):
    """Two photographs; ``same``: of one person; ``place``: where the pair comes from, for messages."""

    first: Path
    second: Path
    same: bool
    place: str


def read_pairs(path: str | Path, images_dir: str | Path) -> list[Pair]:
    """Read a list of pairs in either form.

    Args:
        path: the list. A first line of one or two whole numbers (folds, pairs of each kind per fold), or lines
            ``name1 1 name2 2``, make it LFW's; its photos are ``name/name_0001`` with any suffix.
        images_dir: folder that the photos' paths are relative to.

    Raises:
        UserError: the list cannot be read, or lines are wrong or name photos that do not exist; all are listed.
    """
    path, images_dir = Path(path), Path(images_dir)
    if not images_dir.is_dir():
        raise UserError(f"{images_dir} is not a folder; give the one that the paths of {path} are relative to")
    numbered = list(_read_lines(path))
    if not numbered:
        raise UserError(f"{path} contains no pairs; expected lines {_FORMS}")
    header = numbered.pop(0) if _HEADER.fullmatch(numbered[0][1]) else None
    lfw = header is not None or any(_is_lfw_different(line) for _, line in numbered)
    pairs, problems = [], []
    for number, line in numbered:
        place = f"{path}:{number}"
        try:
            found = _lfw_pair(line, images_dir) if lfw else _path_pair(line, images_dir)
            pairs.append(Pair(*found, place))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    if header is not None:
        expected = _count_of_header(header[1])
        if expected != len(numbered):
            problems.append(
                f"{path}:{header[0]}: '{header[1]}' means {counted(expected, 'pair')}, but {len(numbered)} lines follow"
            )
    if problems:
        raise UserError(*shorten(problems, f"problems in {counted(len(numbered), 'pair')}"))
    return pairs


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not blank or a comment; names keep bytes that are not UTF-8."""
    for number, line in enumerate(read_lines(path, keep_bytes=True), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def _count_of_header(header: str) -> int:
    """Return the number of pairs: ``folds pairs`` has ``pairs`` same and as many different ones in each fold."""
    numbers = [int(word) for word in header.split()]
    return 2 * numbers[-1] * (numbers[0] if len(numbers) == 2 else 1)


def _is_lfw_different(line: str) -> bool:
    words = line.split()
    return len(words) == 4 and words[1].isdecimal() and words[3].isdecimal()


def _lfw_pair(line: str, images_dir: Path) -> tuple[Path, Path, bool]:
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
        name, first, second = words
        return _lfw_photo(images_dir, name, first), _lfw_photo(images_dir, name, second), True
    if len(words) == 4 and words[1].isdecimal() and words[3].isdecimal():
        return _lfw_photo(images_dir, *words[:2]), _lfw_photo(images_dir, *words[2:]), False
    raise ValueError(f"'{line}' is not {_FORMS.rsplit(' or ', 1)[0]}")


def _lfw_photo(images_dir: Path, name: str, number: str) -> Path:
    stem = f"{name}_{int(number):04d}"
    photo = _stems(images_dir / name).get(stem)
    if photo is None:
        raise ValueError(f"{images_dir / name / stem} with any suffix does not exist")
    return photo


@cache
def _stems(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by their names without suffix."""
    return {path.stem: path for path in sorted(folder.iterdir())} if os.path.isdir(folder) else {}


def _path_pair(line: str, images_dir: Path) -> tuple[Path, Path, bool]:
    """Return the pair of a line ``path path 0/1``, separated by tabs, commas or blanks; paths may contain blanks."""
    separator = next((mark for mark in ("\t", ",") if line.count(mark) == 2), " ")
    words = [word.strip() for word in line.split(separator)]
    if len(words) < 3 or words[-1] not in ("0", "1"):
        raise ValueError(f"'{line}' is not 'path path 0/1'")
    names = words[:-1]
    # Several blanks may separate the paths, so each is stripped.
    splits = list(
        dict.fromkeys((" ".join(names[:cut]).strip(), " ".join(names[cut:]).strip()) for cut in range(1, len(names)))
    )
    there = [split for split in splits if all(os.path.isfile(images_dir / name) for name in split)]
    if len(there) == 1:
        return images_dir / there[0][0], images_dir / there[0][1], words[-1] == "1"
    missing = [name for name in splits[0] if not os.path.isfile(images_dir / name)] if len(splits) == 1 else [line]
    raise ValueError(f"not found in {images_dir}: {', '.join(missing)}")
