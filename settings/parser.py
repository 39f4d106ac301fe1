"""Parse a command line by a table of options, and report all its mistakes in one error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from settings.hints import hint
from settings.option import Option, parse_bool, read_value

_NUMBER = re.compile(r"-\.?\d")


@dataclass(frozen=True)
class Word:
    """A flag of a command line.

    Attributes:
        flag: the flag with underscores, such as ``--lr_steps``.
        value: its value; None if it has none.
        written: the flag as the user wrote it, if ``flag`` is a translation of it.
    """

    flag: str
    value: str | None
    written: str = ""

    def __str__(self) -> str:
        """Return flag and value as the user wrote them."""
        return self.spelling if self.value is None else f"{self.spelling} {self.value}"

    @property
    def spelling(self) -> str:
        """The flag that the user wrote."""
        return self.written or self.flag


def underscored(flag: str) -> str:
    """Return a flag with underscores for dashes: ``--lr-steps`` is ``--lr_steps``."""
    return "--" + flag[2:].replace("-", "_") if flag.startswith("--") else flag


def split_command(argv: Iterable[str]) -> list[Word]:
    """Return the flags of a command line with their values, ``--key value`` or ``--key=value``.

    Raises:
        UserError: a word belongs to no flag.
    """
    words: list[Word] = []
    for text in argv:
        if text.startswith("-") and len(text) > 1 and not _NUMBER.match(text):
            flag, equals, value = text.partition("=")
            words.append(Word(underscored(flag), value if equals else None, flag if flag != underscored(flag) else ""))
        elif words and words[-1].value is None:
            words[-1] = Word(words[-1].flag, text, words[-1].written)
        else:
            raise UserError(f"unexpected argument '{text}': it belongs to no flag; --help lists the flags")
    return words


def join_words(words: Iterable[Word]) -> list[str]:
    """Return the command line that ``split_command`` splits into ``words``."""
    argv: list[str] = []
    for word in words:
        if word.value is None:
            argv.append(word.flag)
        elif word.value.startswith("-"):
            argv.append(f"{word.flag}={word.value}")
        else:
            argv += [word.flag, word.value]
    return argv


def format_value(value: Any) -> str:
    """Return a value in the form of a command line."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(format_value, value))
    return str(int(value)) if isinstance(value, bool) else str(value)


def set_options(targets: Iterable[str]) -> list[Option]:
    """Return the options for the paths of verification sets, ``--{set}_dataset_dir``."""
    return [
        Option(f"{name}_dataset_dir", str, "verification sets", f"OFRecord folder or .bin file of {name}")
        for name in targets
    ]


def describes_dataset(words: Iterable[Word]) -> bool:
    """Tell whether the flags say where a dataset is and how many classes it has, so that it needs no table entry."""
    flags = {word.flag for word in words}
    return "--num_classes" in flags and bool(flags & {"--dataset_dir", "--use_synthetic_data"})


def peek(words: Iterable[Word], options: Iterable[Option]) -> dict[str, Any]:
    """Return the given values of ``options`` by key, without checking ranges or other flags."""
    known = {flag: option for option in options for flag in option.flags}
    found = {}
    for word in words:
        if word.flag in known and word.value is not None:
            found[known[word.flag].key] = read_value(known[word.flag].parse, word.value)
    return found


def read_flags(words: Sequence[Word], options: Sequence[Option]) -> dict[str, Any]:
    """Return the values of the given flags by key.

    Raises:
        UserError: flags are unknown, without a value, of the wrong kind or range, or contradict each other; the message
            has a line for each.
    """
    known = {flag: option for option in options for flag in option.flags}
    given: dict[str, Any] = {}
    spellings: dict[str, Word] = {}
    problems = []
    for word in words:
        option = known.get(word.flag)
        if option is None:
            problems.append(f"unknown flag {word}{hint(word.flag, known)}; --help lists the flags")
            continue
        try:
            value = _read(option, word)
        except ValueError as error:
            problems.append(f"{word.spelling} {error}")
            continue
        before = spellings.get(option.key)
        if before and underscored(before.spelling) != underscored(word.spelling) and given[option.key] != value:
            problems.append(
                f"{before.spelling} {format_value(given[option.key])} and {word.spelling} {format_value(value)} "
                "contradict each other; give one"
            )
        given[option.key], spellings[option.key] = value, word
    violations = [option.violation(given[option.key]) for option in options if option.key in given]
    problems += [violation for violation in violations if violation]
    if problems:
        raise UserError(*problems)
    return given


def _read(option: Option, word: Word) -> Any:
    if word.value is not None:
        return read_value(option.parse, word.value)
    if option.parse is parse_bool:
        return True
    raise ValueError("needs a value")
