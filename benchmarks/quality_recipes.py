"""Recipes of bench_quality: a name, what it is, and flags of insightface_train.py, read from a JSON file.

    {"fast": {"about": "a larger rate", "flags": "--lr 0.2 --lr_steps 60%,85% --warmup_steps 10%", "sets": ["drawn"]}}

A share such as ``60%`` becomes that part of the steps. ``"from": "fast"`` begins with the flags of another recipe and
overrides them. ``sets`` is for recipes that fit some sets alone, ``verify`` for flags of insightface_val.py.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError, lookup

BUILT_IN = Path(__file__).with_name("quality_recipes.json")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_SHARE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)%")


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Attributes:
        name: letters, digits and underscores; part of the names of folders.
        about: what it is, in a few words.
        flags: words of the training's command line.
        verify: further words of the verification's command line.
        sets: the sets that it is for; empty: all.
    """

    name: str
    about: str
    flags: tuple[str, ...]
    verify: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()

    def fits(self, kind: str) -> bool:
        """Return whether the recipe is for the set ``kind``."""
        return not self.sets or kind in self.sets

    def words(self, steps: int) -> list[str]:
        """Return the flags of a training of so many steps."""
        return [_SHARE.sub(lambda found: str(round(float(found[1]) * steps / 100)), word) for word in self.flags]


def read_recipes(path: Path, known: Mapping[str, Recipe] | None = None) -> dict[str, Recipe]:
    """Return the ``known`` recipes and those of a file by name; each may begin with the flags of one before it.

    Raises:
        UserError: the file is not JSON of the form above; the message has a line for each mistake.
    """
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"--recipe_file {path}: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"--recipe_file {path}: expected an object of recipes by name")
    found, mistakes = dict(known or {}), []
    for name, entry in content.items():
        try:
            found[name] = _read(name, entry, found)
        except ValueError as error:
            mistakes.append(f"--recipe_file {path}: recipe '{name}': {error}")
    if mistakes:
        raise UserError(*mistakes)
    return found


def _read(name: str, entry: object, before: Mapping[str, Recipe]) -> Recipe:
    """Return one recipe, which may begin with one of those ``before``.

    Raises:
        ValueError: it is not of the form above.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a name has letters, digits and underscores alone")
    if not isinstance(entry, dict) or not isinstance(entry.get("flags"), str):
        raise ValueError('expected {"flags": "--flag value ...", "about": "..."}')
    unknown = entry.keys() - {"flags", "about", "verify", "sets", "from"}
    if unknown:
        raise ValueError(f"unknown key {', '.join(sorted(unknown))}; known: about, flags, from, sets, verify")
    base: tuple[str, ...] = ()
    if "from" in entry:
        if entry["from"] not in before:
            raise ValueError(f"from: no recipe '{entry['from']}' comes before it")
        base = before[entry["from"]].flags
    texts = [entry.get(key, "") for key in ("about", "flags", "verify")]
    sets = entry.get("sets", [])
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("about, flags and verify are texts")
    if not isinstance(sets, list) or not all(isinstance(each, str) for each in sets):
        raise ValueError('sets is a list such as ["drawn"]')
    about, flags, verify = texts
    return Recipe(name, about, (*base, *shlex.split(flags)), tuple(shlex.split(verify)), tuple(sets))


def choose_recipes(names: Sequence[str], given: Sequence[str], known: Mapping[str, Recipe]) -> list[Recipe]:
    """Return the recipes ``names``, then those that were given as ``NAME=FLAGS``.

    Raises:
        UserError: a name is unknown or occurs twice, or a given recipe has no name or is not a command line.
    """
    chosen = [lookup(known, name, "recipe") for name in names]
    for text in given:
        name, equals, flags = text.partition("=")
        try:
            if not equals:
                raise ValueError("expected NAME=FLAGS, as 'fast=--lr 0.2 --warmup_steps 10%'")
            chosen.append(_read(name, {"flags": flags, "about": "given as --recipe"}, known))
        except ValueError as error:
            raise UserError(f"--recipe {text!r}: {error}") from error
    names = [each.name for each in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"recipe {', '.join(twice)} occurs twice; give each a name of its own")
    return chosen
