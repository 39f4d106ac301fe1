"""Find the frames of a RecordIO file, many at a time.

A walk from each frame's length to the next takes as long as a tenth of the copying. Here walks from many places advance
together, each step with a few operations of NumPy. A walk begins at the first magic after its place, and must end where
the next one began: then all frames are those of one walk from the start of the file.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Any

import numpy as np

from data.recordio.records import MAGIC, MAGIC_BYTES, MAX_PIECE

MAGIC_WORDS = 2
"""Words (of 4 bytes) of a frame before its payload: magic and length."""
_APART = 1 << 17  # words from the place of one walk to that of the next
_AT_ONCE = 256  # walks that advance together: the file is read in stretches of 128 MiB
_MEGA = 10**6


def list_sound_frames(content: mmap.mmap, bar: Any) -> np.ndarray | None:
    """Return the first word of every frame, int64 [N], or None unless frames fill the file from start to end.

    Args:
        content: the file, mapped.
        bar: its progress, in MB.
    """
    if len(content) % 4:
        return None
    words = np.frombuffer(content, "<u4")
    found, expected = [], 0
    for begin in range(0, len(words), _APART * _AT_ONCE):
        end = min(begin + _APART * _AT_ONCE, len(words))
        with suppress(OSError):
            content.madvise(mmap.MADV_WILLNEED, 4 * begin, 4 * (end - begin))  # walks leap, disks prefer to read on
        frames, following = _walk_together(content, words, begin, end)
        if frames is None or not len(frames) or frames[0] != expected:
            return None
        found.append(frames)
        expected = following
        bar.update(4 * end // _MEGA - bar.n)
    if expected != len(words) or find_frame(content, int(found[-1][-1]) + 1):
        return None  # the length of the last frame may be damaged
    return np.concatenate(found)


def find_frame(content: mmap.mmap, word: int, end: int | None = None) -> int:
    """Return the first word of the next frame at or after ``word`` (and before word ``end``); 0 if there is none."""
    stop = len(content) if end is None else 4 * end
    found = content.find(MAGIC_BYTES, 4 * word, stop)
    while found >= 0 and found % 4:
        found = content.find(MAGIC_BYTES, found + 1, stop)
    return max(found, 0) // 4


def _walk_together(content: mmap.mmap, words: np.ndarray, begin: int, end: int) -> tuple[np.ndarray | None, int]:
    """Return the frames that begin in words ``begin`` to ``end``, int64 [N], and the word after the last of them.

    None in place of the frames if a walk does not meet the next, or there are none.
    """
    places = ((word, find_frame(content, word, min(word + _APART, end))) for word in range(begin, end, _APART))
    place = np.array([first for word, first in places if first or word == 0], np.int64)
    if not len(place):
        return None, 0
    ends, arrived = np.array([*place[1:], end]), place.copy()
    numbers, found = np.arange(len(place)), []
    while len(place):
        if place[-1] + MAGIC_WORDS > len(words) or not (words[place] == MAGIC).all():
            return None, 0
        found.append(place)
        lengths = words[place + 1].astype(np.int64) & MAX_PIECE - 1
        place = place + MAGIC_WORDS + (lengths + 3 >> 2)
        arrived[numbers] = place
        goes_on = place < ends[numbers]
        if not goes_on.all():
            place, numbers = place[goes_on], numbers[goes_on]
    if not (arrived[:-1] == ends[:-1]).all():
        return None, 0
    return np.sort(np.concatenate(found)), int(arrived[-1])
