"""What the ranks tell each other about a step: requests to stop, failures, and images that were left out.

A rank that fails in ``next`` must not leave the others waiting in the collective calls of the step. It takes part in
the step with a spare batch and a signal. The graph sums the signals of all ranks; only where the sum says that there is
news do the ranks exchange it.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError
from data.rejected import Rejection
from launch.world import World

# Signals of a rank; their sum over 4095 ranks is exact in float32 and says whether one of them is FAILED.
QUIET, NEWS, FAILED = 0.0, 1.0, 4096.0


class PeerFailedError(RuntimeError):
    """Another rank has failed and says why in the exchange that follows."""


@dataclass(frozen=True)
class News:
    """The news of all ranks, the same on every rank.

    Attributes:
        stop: whether a rank was asked to stop.
        failure: the error of the ranks that failed; None if none did.
        rejected: bad images that were left out.
    """

    stop: bool
    failure: Exception | None
    rejected: list[Rejection]


def signal_of(stop: bool, failure: Exception | None, rejected: Sequence[Rejection]) -> float:
    """Return the signal of a rank with this news."""
    if failure is not None:
        return FAILED
    return NEWS if stop or rejected else QUIET


def exchange_news(world: World, stop: bool, failure: Exception | None, rejected: Sequence[Rejection]) -> News:
    """Tell all ranks this rank's news, and return that of all. A collective call."""
    lines, trace = [], ""
    if isinstance(failure, UserError):
        lines = str(failure).splitlines()
    elif failure is not None and not isinstance(failure, PeerFailedError):
        trace = "".join(traceback.format_exception(failure)).rstrip()
    own = json.dumps({"stop": stop, "lines": lines, "trace": trace, "rejected": rejected})
    told = [json.loads(text) for text in world.exchange(own.encode())]
    traces = [each["trace"] for each in told if each["trace"]]
    lines = list(dict.fromkeys(line for each in told for line in each["lines"]))
    found: Exception | None = None
    if traces:
        found = failure if trace else RuntimeError(traces[0])
    elif lines:
        found = UserError(*lines)
    return News(
        stop=any(each["stop"] for each in told),
        failure=found,
        rejected=[Rejection(*values) for each in told for values in each["rejected"]],
    )
