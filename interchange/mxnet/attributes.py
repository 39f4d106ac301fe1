"""The texts of a symbol's attributes as values, in every spelling that MXNet accepts.

MXNet reads true, True, TRUE and 1; (3, 3), [3, 3] and, of Python 2, (3L, 3L), with or without spaces; 2e-05 and 0.9f.
Source: ``dmlc/parameter.h`` and ``Tuple`` of ``mxnet/tuple.h``, MXNet 1.9.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_LONGEST = 200  # characters of a text that is looked at
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_WHOLE = re.compile(r"\s*([+-]?\d+)\s*")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fF]?")
_TUPLE = re.compile(r"\s*[(\[]\s*((?:[+-]?\d+\s*L?\s*,\s*)*(?:[+-]?\d+\s*L?)?)\s*[)\]]\s*", re.ASCII)


@dataclass(frozen=True)
class SymbolNode:
    """One node of the file: operator (``null`` for a variable), name, texts of its attributes, names of its inputs."""

    op: str
    name: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[str] = ()

    def word(self, key: str, default: str) -> str:
        """Return an attribute that is a name."""
        return self._text(key) if key in self.attrs else default

    def flag(self, key: str, default: bool) -> bool:
        """Return an attribute that is true or false.

        Raises:
            ValueError: it is spelt in a way that MXNet does not accept; so in the methods below.
        """
        if key not in self.attrs:
            return default
        word = self._text(key).lower()
        if word not in _FLAGS:
            raise ValueError(f"{key} is '{word}', neither true nor false")
        return _FLAGS[word]

    def whole(self, key: str, default: int) -> int:
        """Return an attribute that is a whole number."""
        if key not in self.attrs:
            return default
        return int(self._match(_WHOLE, key, "a whole number")[1])

    def number(self, key: str, default: float) -> float:
        """Return an attribute that is a number."""
        if key not in self.attrs:
            return default
        return float(self._match(_NUMBER, key, "a number")[1])

    def lengths(self, key: str, default: Sequence[int]) -> tuple[int, ...]:
        """Return an attribute that is a tuple of whole numbers; one number alone is a tuple of one, as in an axis."""
        text = self._text(key) if key in self.attrs else "None"
        if text.strip() == "None":
            return tuple(default)
        if _WHOLE.fullmatch(text):
            return (int(text),)
        items = self._match(_TUPLE, key, "a tuple of whole numbers")[1].replace("L", "").split(",")
        return tuple(int(item) for item in items if item.strip())

    def _text(self, key: str) -> str:
        return self.attrs[key][:_LONGEST]

    def _match(self, pattern: re.Pattern[str], key: str, kind: str) -> re.Match[str]:
        found = pattern.fullmatch(self._text(key))
        if found is None:
            raise ValueError(f"{key} is '{self._text(key)}', not {kind}")
        return found
