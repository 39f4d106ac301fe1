"""Read ``val_protocols``: the evaluation protocols that a training runs beside its verification, KIND:PLACE each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UserError, nearest

IDENTIFY, MEGAFACE, IJB, GROUPS = "identify", "megaface", "ijb", "groups"
KINDS = (IDENTIFY, MEGAFACE, IJB, GROUPS)
GROUP_SETS = "sets"  # the place that makes each verification set a group
_FORM = "identify:DIR, megaface:DIR, ijb:DIR, groups:FILE, groups:FILE:PAIRS or groups:sets"


@dataclass(frozen=True)
class NamedProtocol:
    """A protocol and its data.

    Attributes:
        kind: one of ``KINDS``.
        place: the folder; of groups the file, or ``GROUP_SETS``.
        pairs: of groups, the list of pairs that names the images, or empty.
        name: what log and metrics call it: the kind; of several of one kind, with the name of the place.
    """

    kind: str
    place: str
    pairs: str = ""
    name: str = ""

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return ":".join(part for part in (self.kind, self.place, self.pairs) if part)


def read_protocols(config: Mapping[str, Any]) -> list[NamedProtocol]:
    """Return the protocols of ``val_protocols``.

    Raises:
        UserError: an entry has another form, two have one name, or groups lack the sets that they need; the message
            has a line for each.
    """
    problems = []
    found: list[NamedProtocol] = []
    for entry in config.get("val_protocols", ()):
        kind, _, place = entry.partition(":")
        place, _, pairs = place.partition(":") if kind == GROUPS else (place, "", "")
        if kind not in KINDS or not place:
            hint = nearest(kind, KINDS) if kind not in KINDS else ""
            problems.append(f"--val_protocols: '{entry}' is not a protocol and its data; expected {_FORM}{hint}")
        found.append(NamedProtocol(kind, place, pairs))
    counts = Counter(each.kind for each in found)
    named = [NamedProtocol(each.kind, each.place, each.pairs, _name(each, counts)) for each in found]
    targets = config["val_targets"]
    for name, count in Counter([*(each.name for each in named), *targets]).items():
        if count > 1 and any(each.name == name for each in named):
            problems.append(f"--val_protocols: {count} results would be called {name}; rename a folder or a set")
    for each in found:
        if each.kind == GROUPS and len(targets) < 1 + (each.place == GROUP_SETS):
            needed = "at least two sets" if each.place == GROUP_SETS else "a set"
            problems.append(f"--val_protocols {each} compares groups of the pairs of {needed} of --val_targets")
        if each.pairs and len(targets) > 1:
            problems.append(
                f"--val_protocols {each}: {each.pairs} names the images of one set, and --val_targets has "
                f"{len(targets)}"
            )
    if problems:
        raise UserError(*problems)
    return named


def compares_sets(config: Mapping[str, Any]) -> bool:
    """Tell whether a protocol compares the verification sets as groups, for which their embeddings are needed."""
    return any(each.kind == GROUPS and each.place == GROUP_SETS for each in read_protocols(config))


def _name(each: NamedProtocol, counts: Mapping[str, int]) -> str:
    if counts[each.kind] == 1:
        return each.kind
    name = Path(each.place).stem if each.kind == GROUPS else Path(each.place).resolve().name
    return f"{each.kind}-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}"
