"""Read MegaFace's lists: image paths, and the images that InsightFace found to be noisy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError, require, shorten
from common.json_text import parse_json
from common.text_files import read_lines
from common.wording import counted

FACESCRUB_PARTS, MEGAFACE_PARTS = 2, 3  # person/file, folder/folder/file


def read_image_list(path: str | Path, parts: int, flag: str) -> list[str]:
    """Return the names of the images of a list: the last ``parts`` parts of each path, in the order of the file.

    The file has a path per line, or is a list of the development kit: JSON with the key ``path``.

    Raises:
        UserError: the file cannot be read or is empty, a path has fewer parts, or a name occurs twice.
    """
    where = f"{flag} {path}"
    lines = [line.strip() for line in read_lines(path, flag, keep_bytes=True)]
    lines = [line for line in lines if line]
    paths = _json_paths("".join(lines), where) if lines and lines[0].startswith("{") else lines
    return image_names(paths, parts, where)


def _json_paths(text: str, where: str) -> list[str]:
    try:
        paths = parse_json(text).get("path")
    except ValueError as error:
        raise UserError(f"{where} is not JSON ({error})") from error
    if not isinstance(paths, list) or not all(isinstance(one, str) for one in paths):
        raise UserError(f"{where} has no list of paths; expected the key 'path', as in lists of the development kit")
    return paths


def image_names(paths: Sequence[str], parts: int, where: str) -> list[str]:
    """Return the last ``parts`` parts of each path.

    Args:
        paths: paths of images.
        parts: 2 for FaceScrub, 3 for MegaFace.
        where: what the paths are from, for messages.

    Raises:
        UserError: there are none, a path has fewer parts, or a name occurs twice.
    """
    require(bool(paths), f"{where} lists no images")
    names, problems, seen = [], [], set()
    for number, path in enumerate(paths, 1):
        words = [word for word in path.split("/") if word]
        name = "/".join(words[-parts:])
        if len(words) < parts:
            problems.append(
                f"{where}: image {number}, {path}, has {counted(len(words), 'part')}; expected at least {parts}"
            )
        elif name in seen:
            problems.append(f"{where}: {name} occurs more than once (image {number})")
        seen.add(name)
        names.append(name)
    if problems:
        raise UserError(*shorten(problems, "problems of the list", 5))
    return names


def read_noises(path: str | Path, parts: int, flag: str) -> set[str]:
    """Return the names of the noisy images, as InsightFace's script reads them.

    Lines that begin with # are comments. Of two columns with a tab between, the second is the name. FaceScrub's names
    are files without their folder, MegaFace's have three parts.

    Raises:
        UserError: the file cannot be read, or a name has another number of parts.
    """
    names, problems = set(), []
    for number, line in enumerate(read_lines(path, flag, keep_bytes=True), 1):
        if line.startswith("#") or not line.strip():
            continue
        columns = line.strip().split("\t")
        name = columns[1] if parts == MEGAFACE_PARTS and len(columns) > 1 else line.strip()
        wanted = parts if parts == MEGAFACE_PARTS else 1
        if name.count("/") + 1 != wanted:
            found = counted(name.count("/") + 1, "part")
            problems.append(f"{flag} {path}: line {number}, {name}, has {found}; expected {wanted}")
        names.add(name)
    if problems:
        raise UserError(*shorten(problems, "problems of the list", 5))
    return names


def find_noisy(path: str | Path, flag: str, names: Sequence[str], parts: int) -> np.ndarray:
    """Return which images are in the list of noisy ones, bool [N]; none without a list (an empty ``path``).

    Raises:
        UserError: the list cannot be read, or names none of the images.
    """
    if not path:
        return np.zeros(len(names), bool)
    noises = read_noises(path, parts, flag)
    known = names if parts == MEGAFACE_PARTS else [name.rsplit("/", 1)[1] for name in names]
    found = np.array([name in noises for name in known])
    require(
        found.any() or not noises,
        f"{flag} {path}: none of its {counted(len(noises), 'image')} is in the list of images",
    )
    return found
