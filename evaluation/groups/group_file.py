"""Read which group a person or an image belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from common.errors import UserError, shorten
from common.text_files import read_text

_SEPARATORS = (",", "\t")


def read_groups(path: str | Path) -> dict[str, str]:
    """Read a file of lines ``person group`` or ``image group``.

    The last word of a line is the group; a comma or a tab may separate it. Lines that begin with # are comments.

    Raises:
        UserError: the file cannot be read, a line has one word, or a person or image has two groups; the message has a
            line for each.
    """
    groups: dict[str, str] = {}
    problems = []
    for number, line in enumerate(read_text(path, "--groups", keep_bytes=True).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, group = _split(line.strip())
        if not name or not group:
            problems.append(f"{path}:{number}: '{line.strip()}' is not a line 'person-or-image group'")
        elif groups.setdefault(name, group) != group:
            problems.append(f"{path}:{number}: {name} is in the groups {groups[name]} and {group}")
    if problems:
        raise UserError(*shorten(problems, "wrong lines"))
    if not groups:
        raise UserError(f"--groups {path} contains no lines 'person-or-image group'")
    return groups


def _split(line: str) -> tuple[str, str]:
    for separator in _SEPARATORS:
        if separator in line:
            name, _, group = line.rpartition(separator)
            return name.strip(), group.strip()
    *words, group = line.rsplit(None, 1)
    return (words[0] if words else "", group)


def assign_groups(names: Sequence[str], groups: Mapping[str, str], path: str | Path) -> tuple[list[str], np.ndarray]:
    """Return the names of the groups, in the order of the file, and the group of each image, int64 [M].

    Groups without images are left out.

    Args:
        names: the images: paths such as ``person/person_0001.jpg``, or numbers. An image is looked up by its path, its
            path without suffix, its file name with and without suffix, then its person, the folder that it is in.
        groups: the group of each person or image.
        path: the file of the groups, for messages.

    Raises:
        UserError: images have no group; the message names the first ones.
    """
    found = [next((groups[key] for key in _keys(name) if key in groups), None) for name in names]
    missing = list(dict.fromkeys(name for name, group in zip(names, found, strict=True) if group is None))
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise UserError(
            f"--groups {path} has no group for {len(missing)} of {len(set(names))} images: {shown}; give each image or "
            "its person a line"
        )
    present = [group for group in dict.fromkeys(groups.values()) if group in set(found)]
    numbers = {group: number for number, group in enumerate(present)}
    return present, np.array([numbers[group] for group in found], np.int64)


def _keys(name: str) -> list[str]:
    path = PurePosixPath(name)
    return [name, str(path.with_suffix("")) if path.name else name, path.name, path.stem, path.parent.name]
