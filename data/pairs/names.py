"""Read the names of the images from a list of pairs, whose photos need not exist."""

from __future__ import annotations

from pathlib import Path

from common.errors import UserError, shorten
from common.text_files import read_text


def read_pair_names(path: str | Path) -> list[str]:
    """Return the name of each image, two for a pair, in the order of the list.

    The list is LFW's ``pairs.txt``, whose images are called ``person/person_0001``, or has lines ``path path 0/1``.

    Raises:
        UserError: the list cannot be read, is empty, or has lines of another form; they are listed.
    """
    names, problems = [], []
    for number, line in enumerate(read_text(path, "--group_pairs", keep_bytes=True).splitlines(), 1):
        words = line.split("\t") if "\t" in line else line.split()
        if not words or (number == 1 and len(words) <= 2 and all(word.isdigit() for word in words)):
            continue
        if len(words) == 4 and words[1].isdigit() and words[3].isdigit():
            names += [_lfw(words[0], words[1]), _lfw(words[2], words[3])]
        elif len(words) == 3 and words[1].isdigit() and words[2].isdigit():
            names += [_lfw(words[0], words[1]), _lfw(words[0], words[2])]
        elif len(words) == 3 and words[2] in ("0", "1"):
            names += words[:2]
        else:
            problems.append(f"{path}:{number}: '{line}' is not 'name 1 2', 'name1 1 name2 2' or 'path path 0/1'")
    if problems:
        raise UserError(*shorten(problems, "wrong lines"))
    if not names:
        raise UserError(f"--group_pairs {path} contains no pairs")
    return names


def _lfw(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}"
