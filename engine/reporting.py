"""The line between a rank and its supervisor: signs of life, and the reason of a failure.

The supervisor hands every rank the write end of a pipe. Ranks started by another launcher have none; their reports
then go to stderr only.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
import traceback

from common.errors import UserError

PIPE_VARIABLE = "INSIGHTFACE_REPORT_FD"
_BEAT_SECONDS = 0.5


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
        """Route the fatal signals and the stop signals of this process."""
        faulthandler.enable()
        signal.signal(signal.SIGINT, self._request_stop)
        signal.signal(signal.SIGTERM, self._request_stop)

    def beat(self) -> None:
        """Tell the supervisor that this rank is alive; cheap enough for every step."""
        now = time.monotonic()
        if now - self._last_beat > _BEAT_SECONDS:
            self._last_beat = now
            self._send({"alive": True})

    def finish(self, code: int = 0) -> None:
        """End the process with ``code`` without waiting for OneFlow's shutdown, which can hang or abort."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def fail(self, error: BaseException) -> None:
        """Report why this rank fails and end the process."""
        text = (
            f"error: {error}" if isinstance(error, UserError) else "".join(traceback.format_exception(error)).rstrip()
        )
        if self._pipe is None:
            print(text, file=sys.stderr)
        self._send({"failed": text})
        self.finish(1)

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
