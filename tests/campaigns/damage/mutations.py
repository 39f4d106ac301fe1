"""Ways in which a file can be damaged. The same generator gives the same damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from common.json_text import parse_json

Random = np.random.Generator
_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, 10**30, -(10**30), "", "0", "1", "../x", "NaN"),
    *([], [[]], [1], ["x"], [None], [{}], [0, -1], [[1, 2]], {}, {"a": 1}, {"a": []}),
)
_WORDS = ("0", "-1", "1e999", "nan", "99999999999999999999", "", "x", "0x10", "1.5", "\t", "None", "[]")


def _place(rng: Random, content: bytes) -> int:
    """A position, half of the time near the start, where headers are."""
    return int(rng.integers(min(len(content), 256) if rng.random() < 0.5 else len(content)))


def flip(rng: Random, content: bytes) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        changed[_place(rng, content)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(rng: Random, content: bytes) -> bytes:
    """Leave out the end, or the start."""
    place = _place(rng, content)
    return content[:place] if rng.random() < 0.8 else content[place:]


def splice(rng: Random, content: bytes) -> bytes:
    """Put a piece of the file at another place, over what is there or between."""
    start, place = _place(rng, content), _place(rng, content)
    piece = content[start : start + int(rng.integers(1, 2000))]
    return content[:place] + piece + content[place + (len(piece) if rng.random() < 0.5 else 0) :]


def fill(rng: Random, content: bytes) -> bytes:
    """Overwrite a run with zeros, or with ones."""
    place, length = _place(rng, content), int(rng.integers(1, 5000))
    return (
        content[:place] + rng.choice([b"\0", b"\xff"]) * min(length, len(content) - place) + content[place + length :]
    )


def number(rng: Random, content: bytes) -> bytes:
    """Replace a number of 1, 2, 4 or 8 bytes."""
    size = int(rng.choice([1, 2, 4, 8]))
    place = _place(rng, content)
    value = int(rng.choice(np.array(_NUMBERS, object))) & ((1 << 8 * size) - 1)
    return content[:place] + value.to_bytes(size, "little" if rng.random() < 0.8 else "big") + content[place + size :]


def value(rng: Random, content: bytes) -> bytes:
    """Replace a value of a JSON text by one of another type, or leave it out; a number or a word of another text."""
    try:
        tree = parse_json(content)
    except ValueError:
        return _word(rng, content)
    places: list[tuple[Any, Any]] = []
    _collect(tree, places)
    if not places:
        return _word(rng, content)
    owner, key = places[int(rng.integers(len(places)))]
    if rng.random() < 0.15:
        del owner[key]
    else:
        owner[key] = VALUES[int(rng.integers(len(VALUES)))]
    return json.dumps(tree).encode()


def nest(rng: Random, content: bytes) -> bytes:
    """Put the beginning of a deeply nested text at a place."""
    place, deep = _place(rng, content) if rng.random() < 0.5 else 0, int(rng.choice([500, 5000, 100_000]))
    return content[:place] + rng.choice([b"[", b'{"a":', b"(", b"\x0a\x7f"]) * deep + content[place:]


def _collect(tree: Any, places: list[tuple[Any, Any]]) -> None:
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        places.append((tree, key))
        _collect(tree[key], places)


def _word(rng: Random, content: bytes) -> bytes:
    words = list(re.finditer(rb"-?[0-9][0-9.e+-]*|[A-Za-z_]{3,}", content[: 1 << 16]))
    if not words:
        return number(rng, content)
    found = words[int(rng.integers(len(words)))]
    return content[: found.start()] + str(rng.choice(_WORDS)).encode() + content[found.end() :]


MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (flip, cut, splice, fill, number, value, nest)


def damage(rng: Random, content: bytes) -> tuple[str, bytes]:
    """Return the kind of damage and the damaged content; the file of a few trials is damaged twice."""
    names = []
    for _ in range(2 if rng.random() < 0.2 else 1):
        change = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        names.append(change.__name__)
        content = change(rng, content) if content else bytes(rng.integers(0, 256, 5, np.uint8))
    return "+".join(names), content
