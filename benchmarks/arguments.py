"""Command-line values that more than one benchmark reads."""

from __future__ import annotations

import argparse
from typing import NoReturn

from common.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse that reports mistakes as UserError: one line, exit code 1."""

    def error(self, message: str) -> NoReturn:
        """Raise the message."""
        raise UserError(f"{message}; --help lists the flags")


def positive_int(text: str) -> int:
    """Return a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def positive_float(text: str) -> float:
    """Return a number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def name_list(text: str) -> list[str]:
    """Return the names in ``a,b,c``; an empty text is no name."""
    return [name for name in text.split(",") if name]


positive_int.__name__ = "positive whole number"  # argparse puts it into its message
positive_float.__name__ = "positive number"
name_list.__name__ = "list"
