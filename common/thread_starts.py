"""End a process in which a new thread failed before Python ran its function.

``Thread.start`` waits until the new thread runs. Where memory runs out in between, Python 3.10 reports it to
``sys.unraisablehook``, and the caller would wait forever (https://github.com/python/cpython/issues/140746).
"""

from __future__ import annotations

import os
import sys
import threading
from types import MethodType

NO_THREAD = "no thread can be started; memory or the number of processes (ulimit -u) is short"


def end_on_failed_start(descriptor: int, message: bytes) -> None:
    """Make a thread that cannot begin write ``message`` and end the process with code 1; neither takes memory."""
    others = sys.unraisablehook

    def judge(failure: sys.UnraisableHookArgs) -> None:
        if isinstance(failure.object, MethodType) and isinstance(failure.object.__self__, threading.Thread):
            try:
                os.write(descriptor, message)
            finally:
                os._exit(1)
        others(failure)

    sys.unraisablehook = judge
