"""Progress bars that are shown on a terminal and silent elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any


def progress(iterable: Iterable | None = None, total: int | None = None, desc: str = "", unit: str = "it") -> Any:
    """Return a tqdm bar over ``iterable`` (or a manual one when it is None), disabled if stderr is not a terminal."""
    from tqdm import tqdm  # here, so that commands that show no bar start sooner

    return tqdm(iterable, total=total, desc=desc, unit=unit, disable=not sys.stderr.isatty(), leave=False)
