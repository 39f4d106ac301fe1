"""A setting: its flag, type and range, and the message for a value outside of it.

Values from the command line and from config.py are checked by the same rules.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import UserError

LARGEST = 2**63 - 1  # of a whole number


def parse_bool(text: str) -> bool:
    """Parse yes/true/t/y/1 or no/false/f/n/0, in any case.

    Raises:
        ArgumentTypeError: ``text`` is neither.
    """
    word = text.lower()
    if word in ("yes", "true", "t", "y", "1"):
        return True
    if word in ("no", "false", "f", "n", "0"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither yes/true/1 nor no/false/0")


def parse_count(text: str) -> int:
    """Parse a whole number >= 0.

    Raises:
        ArgumentTypeError: ``text`` is not one.
    """
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number >= 0")
    return int(text)


def parse_factor(text: str) -> float:
    """Parse a number >= 0, or the ratio of two: 0.0078125 or 1/128.

    Raises:
        ArgumentTypeError: ``text`` is neither.
    """
    numerator, _, divisor = text.partition("/")
    try:
        value = float(numerator) / float(divisor or 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number >= 0 such as 0.0078125 or 1/128")
    return value


def parse_image_size(text: str) -> int:
    """Parse one length, or the equal height and width of a square: 112 or 112,112.

    Raises:
        ArgumentTypeError: ``text`` is not one, or the lengths differ.
    """
    lengths = set(text.split(","))
    if len(lengths) != 1 or not lengths.copy().pop().strip().isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not the side of a square such as 112 or 112,112")
    return int(lengths.pop())


def _list_of(convert: Callable[[str], Any], items: str) -> Callable[[str], list]:
    def parse_list(text: str) -> list:
        try:
            return [convert(item.strip()) for item in text.split(",") if item.strip()]
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"'{text}' is not a comma-separated list of {items}") from error

    return parse_list


int_list = _list_of(int, "whole numbers")
float_list = _list_of(float, "numbers")
str_list = _list_of(str, "names")
set_list = _list_of(lambda name: name.removesuffix(".bin"), "names")
"""Verification sets, which may be named by their files: ``lfw,mine.bin`` is lfw and mine."""
_KINDS: Mapping[Callable, str] = {int: "a whole number", float: "a number"}


def read_value(parse: Callable[[str], Any], text: str) -> Any:
    """Return ``parse(text)``.

    Raises:
        ValueError: ``text`` is not of the kind that ``parse`` reads; the message names the kind.
    """
    try:
        return parse(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(str(error)) from error
    except ValueError as error:
        raise ValueError(f"'{text}' is not {_KINDS[parse]}" if parse in _KINDS else str(error)) from error


@dataclass(frozen=True)
class Option:
    """One setting and its flag.

    Attributes:
        key: its name in sample_config.py; the flag is ``--key``.
        parse: reads the flag's value.
        group: the heading in ``--help``.
        help: its meaning, in one line.
        aliases: other names of the flag, such as those in arcface_torch.
        choices: the allowed values; for numbers, with their meanings.
        at_least: the smallest value.
        above: the value that it must exceed.
        at_most: the largest value.
        below: the value that it must not reach.
    """

    key: str
    parse: Callable[[str], Any]
    group: str
    help: str
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] | Mapping[int, str] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """The flag and its aliases, with underscores; with dashes they are the same."""
        return (f"--{self.key}", *self.aliases)

    def violation(self, value: Any) -> str | None:
        """Return None if ``value`` is allowed, else a message with the allowed values."""
        if self.choices and value not in self.choices:
            if isinstance(self.choices, Mapping):
                known = ", ".join(f"{number} ({meaning})" for number, meaning in self.choices.items())
            else:
                known = ", ".join(self.choices)
            return f"--{self.key} {value} is unknown; known: {known}"
        limits = {
            "at least": self.at_least is None or value >= self.at_least,
            "above": self.above is None or value > self.above,
            "at most": self.at_most is None or value <= self.at_most,
            "below": self.below is None or value < self.below,
        }
        if all(limits.values()):  # NaN fails every limit
            numbers = value if isinstance(value, (list, tuple)) else [value]
            is_finite = all(math.isfinite(number) for number in numbers if isinstance(number, float))
            if not is_finite:
                return f"--{self.key} {value} must be finite"
            is_large = any(abs(number) > LARGEST for number in numbers if isinstance(number, int))
            return f"--{self.key} {value} must be at most {LARGEST}" if is_large else None
        bounds = [(word, getattr(self, word.replace(" ", "_"))) for word in limits]
        allowed = " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)
        return f"--{self.key} {value} must be {allowed}"


def check_values(options: Iterable[Option], config: Mapping[str, Any]) -> None:
    """Check every value of ``config`` against its option.

    Raises:
        UserError: values are not allowed; the message has a line for each.
    """
    violations = [option.violation(config[option.key]) for option in options if option.key in config]
    problems = [violation for violation in violations if violation]
    if problems:
        raise UserError(*problems)
