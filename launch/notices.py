"""Lines for the user from a launching command."""

from __future__ import annotations

import contextlib
import sys


def say(text: str) -> None:
    """Print to stderr, unless it is gone, as after the end of a terminal."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
