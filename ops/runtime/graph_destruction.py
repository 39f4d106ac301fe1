"""Let graphs be destroyed while another one is built, and signals arrive while one is destroyed.

OneFlow keeps the variables of the graph that is being built in one place for the whole process, and
``nn.Graph.__del__`` empties it. A graph that Python's garbage collector finds in the middle of a build (it was part of
a cycle of references, or an exception's traceback held it) thus takes away the variables of the new one, which fails
with "must be a variable created in nn.Graph".

Python drops what is raised in a destructor, KeyboardInterrupt included: a Ctrl-C within one would be lost.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_LATER = 0.01  # seconds, by when the destructor has returned


def protect_builds(flow: ModuleType) -> None:
    """Have a graph that is destroyed during a build leave the variables alone; the next one to be destroyed drops them.

    OneFlow's lazy mode is on during a build and at no other time.
    """
    internal, destroy = flow._oneflow_internal, flow.nn.Graph.__del__

    def __del__(graph: Any) -> None:  # noqa: N807 (replaces the method of that name)
        with _putting_signals_off():
            if internal.lazy_mode.is_enabled():
                internal.eager.Sync()  # as OneFlow does: what the graph still computes needs it
            else:
                destroy(graph)

    flow.nn.Graph.__del__ = __del__


@contextmanager
def _putting_signals_off() -> Iterator[None]:
    """Send the signals that arrive inside again a moment later."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread alone
        return
    arrived: list[int] = []
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    own = {each: handler for each, handler in handlers.items() if callable(handler)}
    for each in own:
        signal.signal(each, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for each, handler in own.items():
            signal.signal(each, handler)
        for number in arrived:
            threading.Timer(_LATER, signal.pthread_kill, [threading.get_ident(), number]).start()
