"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from typing import Any

_SECONDS_BETWEEN_LINES = 10.0


def progress(iterable: Iterable | None = None, total: int | None = None, desc: str = "", unit: str = "it") -> Any:
    """Return a tqdm bar on stderr over ``iterable`` (or a manual one when it is None).

    If stderr is not a terminal, a line is written every ten seconds, so short work writes none.
    """
    from tqdm import tqdm  # here, so that commands that show no bar start sooner

    if sys.stderr.isatty():
        return tqdm(iterable, total=total, desc=desc, unit=unit, leave=False)
    wait = _SECONDS_BETWEEN_LINES
    return _lines_class()(
        iterable, total=total, desc=desc, unit=unit, ncols=100, mininterval=wait, maxinterval=wait, delay=wait
    )


@cache
def _lines_class() -> type:
    """Return the class of bars that write lines: one, as tqdm starts a thread for each class, which stays."""
    from tqdm import tqdm

    class Lines(tqdm):
        """A bar that starts a new line each time, and is not redrawn or wiped."""

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            if self.n:
                self.fp.write(f"{msg or self}\n")
                self.fp.flush()

        def close(self) -> None:
            self.disable = True
            super().close()

    return Lines
