"""Signals that end a command by an exception, so that it unwinds the stack and removes its temporary files.

Python drops an exception that a destructor, the end of a generator or a callback of C raises, reports it to
``sys.unraisablehook`` and goes on. An interruption that is lost in this way is raised again a moment later.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_AGAIN = 0.01  # seconds; a destructor that takes longer is interrupted once more


class Terminated(BaseException):
    """A signal asked the process to end; like KeyboardInterrupt, not an ``Exception``."""


@contextmanager
def unwinding_on(*signals: signal.Signals) -> Iterator[None]:
    """Make signals that would end the process at once raise ``Terminated``; ignored ones (nohup) stay ignored.

    Neither these nor the KeyboardInterrupt of a Ctrl-C are lost within.
    """

    def stop(number: int, _: object) -> NoReturn:
        for each in deadly:
            signal.signal(each, signal.SIG_IGN)  # a second one must not interrupt the removal of temporary files
        raise Terminated(signal.Signals(number).name)

    deadly = [each for each in signals if signal.getsignal(each) is signal.SIG_DFL]
    before, hook = signal.getsignal(signal.SIGALRM), sys.unraisablehook
    keep_interruptions()
    for each in deadly:
        signal.signal(each, stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        signal.signal(signal.SIGALRM, before)
        for each in deadly:
            signal.signal(each, signal.SIG_DFL)


def keep_interruptions() -> None:
    """Raise a KeyboardInterrupt or ``Terminated`` that Python drops again, in the main thread, which must call this.

    Nothing happens where another program uses SIGALRM.
    """
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        return
    others, lost = sys.unraisablehook, []

    def judge(failure: sys.UnraisableHookArgs) -> None:
        if isinstance(failure.exc_value, (KeyboardInterrupt, Terminated)):
            lost[:] = [type(failure.exc_value)(*failure.exc_value.args)]
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            others(failure)

    def raise_again(number: int, frame: object) -> NoReturn:
        raise lost[0]

    sys.unraisablehook = judge
    signal.signal(signal.SIGALRM, raise_again)
