"""Flags that a tool has beside those of the training."""

from __future__ import annotations

import argparse
from typing import NoReturn

from common.errors import UserError


class ToolParser(argparse.ArgumentParser):
    """A parser whose errors are those of all commands.

    Raises:
        UserError: by ``parse_args`` and ``parse_known_args``: a flag or value is unknown or impossible.
    """

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of printing the usage."""
        raise UserError(f"{message}; --help lists the flags")


def positive_number(text: str) -> float:
    """Parse a finite number above 0.

    Raises:
        ArgumentTypeError: ``text`` is not one.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value
