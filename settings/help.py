"""What a command prints of itself, and then ends: its help, its settings, the versions of what it runs with."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from settings.option import Option
from settings.parser import Word, format_value, split_command

VERSION = "1.0"
PACKAGES = ("oneflow", "numpy", "mxnet", "onnx", "onnxruntime")
HELP, SHORT_HELP, SETTINGS, VERSIONS = "--help", "-h", "--print_config", "--version"
_EPILOG = (
    "Dashes in place of underscores and the flags of InsightFace's trainers and of the OneFlow port are accepted too, "
    "and --config FILE takes a config of arcface_torch: docs/options.md lists them."
)


def take_actions(argv: Sequence[str], actions: Sequence[str]) -> tuple[set[str], list[Word]]:
    """Return which of ``actions`` a command line asks for, and its other flags.

    Raises:
        UserError: a word belongs to no flag.
    """
    words = split_command(argv)
    asked = {HELP if word.flag == SHORT_HELP else word.flag for word in words if word.value != "0"}
    return asked & set(actions), [word for word in words if word.flag not in (*actions, SHORT_HELP)]


def format_help(about: str, options: Sequence[Option], defaults: Mapping[str, Any], actions: Sequence[str]) -> str:
    """Return the help of a command: each flag once, with its default."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [--flag value ...]", description=about, epilog=_EPILOG, add_help=False
    )
    explained = {
        HELP: "print this help",
        SETTINGS: "print the settings that a run would have as a config.py",
        VERSIONS: "print the versions of this program and of the packages it uses",
    }
    group = parser.add_argument_group("instead of a run")
    for action in actions:
        group.add_argument(action, action="store_true", help=explained[action])
    groups: dict[str, Any] = {}
    for option in options:
        group = groups.setdefault(option.group, parser.add_argument_group(option.group))
        default = f" (default: {format_value(defaults[option.key])})" if option.key in defaults else ""
        values = [str(choice) for choice in option.choices]
        metavar = "{" + ",".join(values) + "}" if values else option.key.upper()
        group.add_argument(f"--{option.key}", metavar=metavar, help=f"{option.help}{default}".replace("%", "%%"))
    return parser.format_help()


def format_versions() -> str:
    """Return the versions of this program, of Python and of the packages it uses, none of which is loaded."""
    from importlib import metadata  # here, so that runs start sooner

    lines = [f"insightface_oneflow {VERSION}", f"python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            lines.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{package} is not installed")
    return "\n".join(lines)


def end_with(text: str) -> None:
    """Print ``text`` and end the process successfully."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # as by `| head`; nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
