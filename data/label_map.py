"""Write label maps: text files that say which class of a set became which class of a set made from it.

Each line holds an old and a new class; ``--label_map`` of the training reads it, to carry class rows over.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from common.files import atomic_file

LABEL_MAP_FILE = "label_map.txt"


def write_label_map(path: str | Path, new_classes: np.ndarray, about: Iterable[str] = ()) -> None:
    """Write the map.

    A class of the new set that several old ones became is paired with the first of them, because a label map names each
    class once; the others follow in comments.

    Args:
        path: the file.
        new_classes: int64 [C], the new class of each old one; negative for an old class that was left out.
        about: lines of comment for the head of the file.

    Raises:
        UserError: the file cannot be written.
    """
    old = np.flatnonzero(new_classes >= 0)
    _, first = np.unique(new_classes[old], return_index=True)
    is_first = np.zeros(len(old), bool)
    is_first[first] = True
    with atomic_file(path) as handle:
        for line in (*about, "old class, new class"):
            text = " ".join(line.splitlines())  # names of files may have line breaks, and bytes that are not UTF-8
            handle.write(f"# {text}\n".encode("utf-8", "backslashreplace"))
        for a, b, kept in zip(old.tolist(), new_classes[old].tolist(), is_first.tolist(), strict=True):
            handle.write(b"%d %d\n" % (a, b) if kept else b"# %d %d (the same person)\n" % (a, b))
