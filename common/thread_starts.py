"""End a process in which a new thread failed before Python ran its function.

``Thread.start`` waits until the new thread runs. Where memory runs out in between, Python 3.10 reports it to
``sys.unraisablehook``, and the caller would wait forever (https://github.com/python/cpython/issues/140746).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import MethodType


def on_failed_start(end: Callable[[BaseException], object]) -> None:
    """Call ``end`` in a thread that cannot begin, with the reason; it has to end the process."""
    others = sys.unraisablehook

    def judge(failure: sys.UnraisableHookArgs) -> None:
        if isinstance(failure.object, MethodType) and isinstance(failure.object.__self__, threading.Thread):
            end(failure.exc_value)
        others(failure)

    sys.unraisablehook = judge
