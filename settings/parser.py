"""Options and flags of older programs as argparse knows them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from common.errors import UserError
from settings.legacy.flags import OLD_FLAGS, PARSERS, OldFlag, find_spellings
from settings.options import Option, parse_bool


class Parser(argparse.ArgumentParser):
    """argparse that reports mistakes as UserError: one line, exit code 1."""

    def error(self, message: str) -> None:
        """See ``argparse``; of a flag's many spellings the first will do."""
        message = re.sub(r"^argument ([^/\s]+)/\S+:", r"argument \1:", message)
        raise UserError(f"{message}; --help lists the flags")


class _Store(argparse.Action):
    """Keeps the value of a flag; two spellings of one flag with different values are an error."""

    _last = ""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name = (option_string or "").lstrip("-").replace("-", "_")
        before = getattr(namespace, self.dest, None)
        if hasattr(namespace, self.dest) and before != values and name != self._last:
            parser.error(f"--{self._last} {before} and {option_string} {values} contradict each other; give one")
        self._last = name
        setattr(namespace, self.dest, values)


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option], defaults: dict[str, Any]) -> None:
    """Add the flags of ``options`` to ``parser``; a flag that is not given leaves no trace in the namespace."""
    groups: dict[str, Any] = {}
    for option in options:
        group = groups.setdefault(option.group, parser.add_argument_group(option.group))
        shown = f"{option.help} (default: {defaults[option.key]})"
        extra = {"nargs": "?", "const": True} if option.parse is parse_bool else {}
        group.add_argument(
            *option.flags(),
            dest=option.key,
            type=option.parse,
            choices=option.choices,
            help=shown.replace("%", "%%"),
            default=argparse.SUPPRESS,
            metavar=None if option.choices else option.key.upper(),
            action=_Store,
            **extra,
        )


def find_translated(options: Sequence[Option], parsers: Sequence[str] = PARSERS) -> list[OldFlag]:
    """Return the older flags of ``parsers`` that set none of ``options`` as they are, without verification sets'."""
    keys = {option.key for option in options}
    rows = [row for row in OLD_FLAGS if set(row.parsers) & set(parsers)]
    return [row for row in rows if row.key not in keys and not row.key.endswith("_dataset_dir")]


def add_old_flags(parser: argparse.ArgumentParser, rows: Sequence[OldFlag]) -> None:
    """Add ``rows``, whose values go to their own destinations; those that have no effect need no value."""
    group = parser.add_argument_group("flags of older programs, see docs/options.md")
    for row in rows:
        group.add_argument(
            *row.spellings(),
            dest=row.destination,
            type=row.parse,
            default=argparse.SUPPRESS,
            action=_Store,
            metavar=row.name.upper(),
            help=row.describe().replace("`", "").replace("%", "%%"),
            **({} if row.meaning else {"nargs": "?"}),
        )


def add_set_options(parser: argparse.ArgumentParser, targets: Sequence[str]) -> None:
    """Add ``--{set}_dataset_dir`` for every verification set."""
    group = parser.add_argument_group("verification sets")
    for target in targets:
        key = f"{target}_dataset_dir"
        flags = [f"--{key}", f"--{key.replace('_', '-')}", *find_spellings(key)]
        group.add_argument(
            *flags,
            dest=key,
            default=argparse.SUPPRESS,
            metavar="DIR",
            action=_Store,
            help=f"OFRecord folder or .bin file of {target}",
        )
