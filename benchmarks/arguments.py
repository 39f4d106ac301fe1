"""Command-line values that more than one benchmark reads."""

from __future__ import annotations

import argparse
from typing import NoReturn

from common.errors import UserError


class Parser(argparse.ArgumentParser):
    """An argparse parser that reports mistakes as UserError: one line, exit code 1."""

    def error(self, message: str) -> NoReturn:
        """Report a mistake on the command line.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; --help lists the flags")


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1.

    Raises:
        ValueError: ``text`` is not one; argparse turns this into its message.
    """
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def positive_float(text: str) -> float:
    """Parse a finite number above 0.

    Raises:
        ValueError: ``text`` is not one; argparse turns this into its message.
    """
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def name_list(text: str) -> list[str]:
    """Split ``a,b,c`` into names, without empty ones."""
    return [name for name in text.split(",") if name]


positive_int.__name__ = "positive whole number"  # argparse shows it in its message
positive_float.__name__ = "positive number"
name_list.__name__ = "list"
