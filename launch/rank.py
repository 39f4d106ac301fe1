"""What a rank reports to its supervisor: heartbeats, its end, and the reason for a failure.

The supervisor hands each rank the write end of a pipe. Ranks started by another launcher have no pipe; they report
failures on stderr only.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from common.errors import UserError, describe_failure
from common.stop_signals import keep_interruptions
from common.thread_starts import NO_THREAD, end_on_failed_start

PIPE_VARIABLE = "INSIGHTFACE_REPORT_FD"
SETTINGS_VARIABLE = "INSIGHTFACE_SETTINGS_FD"
INTERRUPTED = 130  # the exit code that shells expect after Ctrl-C
_BEAT_SECONDS = 0.5
_LINGER_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def stop_signals() -> list[signal.Signals]:
    """Return the signals that ask a run to stop; SIGHUP is not among them where it is ignored, as under nohup."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hangup]


class RankReporter:
    """Reports from a rank to its supervisor, and remembers a request to stop.

    An exception in one rank leaves the others waiting in a collective call forever, and OneFlow's shutdown waits for
    them too. So every failure is reported and then ends the process immediately.

    Attributes:
        stop_requested: whether SIGINT, SIGTERM or SIGHUP asked this rank to stop.
    """

    def __init__(self) -> None:
        descriptor = os.environ.get(PIPE_VARIABLE)
        self._pipe = int(descriptor) if descriptor else None
        self._last_beat = 0.0
        self._stops_at_once = False
        self.stop_requested = False

    def install(self, stops_at_once: bool = False) -> None:
        """Handle fatal and stop signals of this process, and tie its life to the supervisor's.

        With ``stops_at_once`` a stop signal raises KeyboardInterrupt, otherwise it sets ``stop_requested``.
        """
        self._stops_at_once = stops_at_once
        faulthandler.enable()
        keep_interruptions()
        if self._pipe is not None:
            end_on_failed_start(self._pipe, _line({"failed": f"error: {NO_THREAD}"}))
            # A rank that waits in a collective call would not notice the end of its supervisor.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
            self._send({"alive": True})  # ends the process if the supervisor ended earlier
        for number in stop_signals():
            signal.signal(number, self._request_stop)

    def heartbeat(self) -> None:
        """Tell the supervisor that this rank is alive; cheap enough to call in every step."""
        now = time.monotonic()
        if now - self._last_beat > _BEAT_SECONDS:
            self._last_beat = now
            self._send({"alive": True})

    def finish(self) -> None:
        """End the process successfully, skipping OneFlow's shutdown, which can hang or abort.

        A rank that is still leaving the last barrier aborts if another rank is gone already. So each rank lingers, and
        the supervisor ends them as soon as all have finished.
        """
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        self._send({"finished": True, "stopped": self.stop_requested})
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            time.sleep(_LINGER_SECONDS)
        self._exit(0)

    def fail(self, error: BaseException) -> None:
        """Report the reason for a failure on stderr and to the supervisor, then end the process."""
        if isinstance(error, KeyboardInterrupt) or (self._stops_at_once and self.stop_requested):
            self._exit(INTERRUPTED)  # a library may have made another error of it
        known = describe_failure(error)
        try:
            full = "".join(traceback.format_exception(error)).rstrip()
        except MemoryError:
            full = known or type(error).__name__
        text = full if known is None else f"error: {known}"
        with contextlib.suppress(OSError):  # a full disk
            # The supervisor keeps stderr in the rank's log, where the place in the program may help, too.
            print(text if isinstance(error, UserError) else full, file=sys.stderr)
        self._send({"failed": text})
        self._exit(1)

    def _exit(self, code: int) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)

    def _request_stop(self, number: int, frame: object) -> None:
        first, self.stop_requested = not self.stop_requested, True
        if self._stops_at_once and first:  # a second one must not interrupt the removal of temporary files
            raise KeyboardInterrupt

    def _send(self, message: dict) -> None:
        if self._pipe is None:
            return
        try:
            os.write(self._pipe, _line(message))
        except BrokenPipeError:
            # Without its supervisor nothing would ever stop this rank.
            os._exit(1)


def _line(message: dict[str, Any]) -> bytes:
    return (json.dumps(message) + "\n").encode()


def inherited_settings() -> dict[str, Any] | None:
    """Return the settings that the supervisor handed to this rank; None in any other process.

    They lie as JSON in a file without a name that all ranks inherit. It can be read once.
    """
    descriptor = os.environ.pop(SETTINGS_VARIABLE, None)
    if descriptor is None:
        return None
    with open(int(descriptor), "rb") as file:
        # The ranks share one file position, so none may move it.
        return json.loads(os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0))


def run_as_rank(
    work: Callable[[Any, RankReporter], None], config: Mapping[str, Any], stops_at_once: bool = False
) -> NoReturn:
    """Do a rank's ``work``, report any failure, and end the process; ``stops_at_once`` is as in ``install``."""
    reporter = RankReporter()
    reporter.install(stops_at_once)
    if not config["native_ops"]:
        os.environ["INSIGHTFACE_NATIVE"] = "0"  # read when the kernels would be loaded
    try:
        work(config, reporter)
    except BaseException as error:
        reporter.fail(error)
    reporter.finish()
