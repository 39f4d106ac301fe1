"""Signals that end a command by an exception, so that it unwinds the stack and removes its temporary files.

Python drops an exception that a destructor, the end of a generator or a callback of C raises, reports it to
``sys.unraisablehook`` and goes on. An interruption that is lost in this way is raised again a moment later.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_AGAIN = 0.01  # seconds; a destructor that takes longer is interrupted once more


class Terminated(BaseException):
    """A signal asked the process to end; like KeyboardInterrupt, not an ``Exception``."""


_INTERRUPTIONS = (KeyboardInterrupt, Terminated)


@contextmanager
def unwinding_on(*signals: signal.Signals) -> Iterator[None]:
    """Make signals that would end the process at once raise ``Terminated``; ignored ones (nohup) stay ignored.

    Neither these nor the KeyboardInterrupt of a Ctrl-C are lost within. Where a library has made an error of its own of
    one (``import_array`` of NumPy's C interface prints it and raises ImportError), it is raised in place of that error.
    """
    arrived: list[BaseException] = []

    def stop(number: int, _: object) -> NoReturn:
        for each in deadly:
            signal.signal(each, signal.SIG_IGN)  # a second one must not interrupt the removal of temporary files
        arrived[:] = [Terminated(signal.Signals(number).name)]
        raise arrived[0]

    def interrupt(number: int, _: object) -> NoReturn:
        arrived[:] = [KeyboardInterrupt()]
        raise arrived[0]

    deadly = [each for each in signals if signal.getsignal(each) is signal.SIG_DFL]
    handlers = dict.fromkeys(deadly, stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = interrupt
    before = {each: signal.getsignal(each) for each in handlers}
    hooks = sys.unraisablehook, sys.excepthook
    keeps = keep_interruptions()
    for each, handler in handlers.items():
        signal.signal(each, handler)
    try:
        yield
    except Exception:
        if arrived:
            raise arrived[0] from None
        raise
    finally:
        if keeps:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        sys.unraisablehook, sys.excepthook = hooks
        for each, handler in before.items():
            signal.signal(each, handler)


def keep_interruptions() -> bool:
    """Raise a KeyboardInterrupt or ``Terminated`` that Python drops again, in the main thread, which must call this.

    Returns:
        Whether it will: not where another program uses SIGALRM.
    """
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        return False
    others, show, lost = sys.unraisablehook, sys.excepthook, []

    def show_others(kind: type[BaseException], *about: Any) -> None:
        if not issubclass(kind, _INTERRUPTIONS):
            show(kind, *about)

    def judge(failure: sys.UnraisableHookArgs) -> None:
        if isinstance(failure.exc_value, _INTERRUPTIONS):
            lost[:] = [type(failure.exc_value)(*failure.exc_value.args)]
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            others(failure)

    def raise_again(number: int, frame: object) -> NoReturn:
        raise lost[0]

    sys.unraisablehook, sys.excepthook = judge, show_others
    signal.signal(signal.SIGALRM, raise_again)
    return True
