"""The line between a rank and its supervisor: signs of life, and the reason of a failure.

The supervisor hands every rank the write end of a pipe. Ranks started by another launcher have none; their reports
then go to stderr only.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from easydict import EasyDict

from common.errors import UserError

PIPE_VARIABLE = "INSIGHTFACE_REPORT_FD"
_BEAT_SECONDS = 0.5
_LINGER_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class RankReporter:
    """A rank's end of the line; also keeps the wish to stop that a signal has brought.

    An exception in one rank leaves the others waiting in a collective call for ever, and OneFlow's own shutdown waits
    for them too: hence every failure ends the process at once, after its reason has been reported.
    """

    def __init__(self) -> None:
        descriptor = os.environ.get(PIPE_VARIABLE)
        self._pipe = int(descriptor) if descriptor else None
        self._last_beat = 0.0
        self.stop_requested = False

    def install(self) -> None:
        """Route the fatal signals and the stop signals of this process, and let it end with its supervisor."""
        faulthandler.enable()
        if self._pipe is not None:
            # A rank that waits in a collective call would not notice that nobody watches it any more.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
            self._send({"alive": True})  # ends the process if the supervisor was gone before
        signal.signal(signal.SIGINT, self._request_stop)
        signal.signal(signal.SIGTERM, self._request_stop)

    def beat(self) -> None:
        """Tell the supervisor that this rank is alive; cheap enough for every step."""
        now = time.monotonic()
        if now - self._last_beat > _BEAT_SECONDS:
            self._last_beat = now
            self._send({"alive": True})

    def finish(self) -> None:
        """End the process as a success, without OneFlow's shutdown, which can hang or abort.

        A rank may still be on its way out of the last barrier, which rank 0 serves, and aborts when it finds another
        one gone: so all wait a little and leave together, unless the supervisor knows sooner that all are done.
        """
        self._send({"finished": True})
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            time.sleep(_LINGER_SECONDS)
        self._exit(0)

    def fail(self, error: BaseException) -> None:
        """Report why this rank fails and end the process."""
        text = (
            f"error: {error}" if isinstance(error, UserError) else "".join(traceback.format_exception(error)).rstrip()
        )
        if self._pipe is None:
            print(text, file=sys.stderr)
        self._send({"failed": text})
        self._exit(1)

    def _exit(self, code: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _request_stop(self, number: int, frame: object) -> None:
        self.stop_requested = True

    def _send(self, message: dict) -> None:
        if self._pipe is None:
            return
        try:
            os.write(self._pipe, (json.dumps(message) + "\n").encode())
        except BrokenPipeError:
            # The supervisor is gone, so nobody would ever stop this rank.
            os._exit(1)


def be_rank(work: Callable[[EasyDict, RankReporter], None], config: EasyDict) -> NoReturn:
    """Do a rank's ``work`` and end the process; whatever goes wrong is reported."""
    reporter = RankReporter()
    reporter.install()
    if not config.native_ops:
        os.environ["INSIGHTFACE_NATIVE"] = "0"  # read when the kernels would be loaded
    try:
        work(config, reporter)
    except BaseException as error:
        reporter.fail(error)
    reporter.finish()
