"""What happens to the network, and what is expected then."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from launch.machine_link import LOST_SECONDS
from tests.campaigns.network.trial import LONGEST_SILENCE, STEPS, Run
from tests.support.nodes import Machine, node_folder
from tests.support.supervise import rank_pids, wait_until
from tests.support.wire import Wire

ROOT = Path(__file__).resolve().parents[3]
_DISTURBED = 15  # the step at which a run is disturbed


@dataclass(frozen=True)
class Case:
    """A disturbance.

    Attributes:
        what: for the table.
        disturb: does it to a running pair of machines.
        seconds: within which both nodes have ended, on a busy machine too.
        lost: whether the run is expected to end before its last step.
        said: what each node must have printed, as parts of one line.
        may_end: whether it may end before its last step, too.
        prepare: the state of the wire before the start.
        steps: to train.
        silent: seconds without a line or a step that are no fault; more where each step takes long.
        options: for ``trial.running``.
    """

    what: str
    disturb: Callable[[Run, Wire, tuple[Machine, Machine]], None]
    seconds: float
    lost: bool = False
    said: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    prepare: Callable[[Wire], None] = lambda wire: None
    steps: int = STEPS
    silent: float = LONGEST_SILENCE
    may_end: bool = False
    options: dict[str, object] = field(default_factory=dict)


def _cut(seconds: float | None, step: int = _DISTURBED) -> Callable[[Run, Wire, tuple[Machine, Machine]], None]:
    """Return a disturbance: the cable is cut at ``step``, for a time or for good."""

    def disturb(run: Run, wire: Wire, machines: tuple[Machine, Machine]) -> None:
        run.wait_for_step(step)
        wire.cut = True
        if seconds is not None:
            time.sleep(seconds)
            wire.cut = False

    return disturb


def _cut_often(run: Run, wire: Wire, machines: tuple[Machine, Machine]) -> None:
    """Cut the cable for 20 s three times, with 10 s in between, as one with a loose contact."""
    run.wait_for_step(_DISTURBED)
    for pause in (0, 10, 10):
        time.sleep(pause)
        wire.cut = True
        time.sleep(20)
        wire.cut = False


def _cut_while_starting(run: Run, wire: Wire, machines: tuple[Machine, Machine]) -> None:
    """Cut the cable for 20 s when the processes of both ranks are there, and OneFlow is about to connect them."""
    wait_until(lambda: all(rank_pids(node_folder(run.folder, node)) for node in (0, 1)), 300, "ranks")
    wire.cut = True
    time.sleep(20)
    wire.cut = False


def _cut_at_start(seconds: float) -> Callable[[Run, Wire, tuple[Machine, Machine]], None]:
    def disturb(run: Run, wire: Wire, machines: tuple[Machine, Machine]) -> None:
        time.sleep(seconds)
        wire.cut = False

    return disturb


def _stop(node: int, seconds: float) -> Callable[[Run, Wire, tuple[Machine, Machine]], None]:
    """Return a disturbance: a whole machine stands still for a time, as a virtual one does while it moves."""

    def disturb(run: Run, wire: Wire, machines: tuple[Machine, Machine]) -> None:
        run.wait_for_step(_DISTURBED)
        pids = [run.processes[node].pid, *_children(run.processes[node].pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return disturb


def _children(pid: int) -> list[int]:
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    own = [int(word) for word in listing.split()]
    return own + [each for child in own for each in _children(child)]


def _strangers(run: Run, wire: Wire, machines: tuple[Machine, Machine]) -> None:
    """Knock at the meeting port from both machines until the run is over."""
    port = str(json.loads(run.processes[0].args[-1])["config"]["master_port"])
    script = Path(__file__).with_name("stranger.py")
    knocking = [
        subprocess.Popen([*machine.prefix, sys.executable, str(script), machines[0].address, port], cwd=ROOT)
        for machine in machines
    ]
    try:
        run.wait_for_step(STEPS)
    finally:
        for process in knocking:
            process.kill()
            process.wait()


def _end_node_1(run: Run, wire: Wire, machines: tuple[Machine, Machine]) -> None:
    """End node 1 before it has said anything."""
    os.killpg(run.processes[1].pid, signal.SIGKILL)


def _nothing(run: Run, wire: Wire, machines: tuple[Machine, Machine]) -> None:
    pass


def _set(**values: float | bool) -> Callable[[Wire], None]:
    return lambda wire: [setattr(wire, name, value) for name, value in values.items()]


_ENDS = LOST_SECONDS + 30
_SILENT = ("error: lost node", "no sign of it for", "--resume 1")
_OTHER = ("error: node 1 has lr=0.5, node 0 lr=0.02; give all nodes the same settings",)
_OLDER = ("error: node 1 has OneFlow='0.8.0', node 0 OneFlow='0.9.0'",)
CASES = {
    "cut 20 s": Case("cable cut for 20 s", _cut(20), 300, said=(("no sign of node 1",), ("node 0 is back",))),
    "cut 60 s": Case("cable cut for 60 s", _cut(60), 400, said=(("no sign of node 1",), ("node 0 is back",))),
    "cut three times": Case("cable cut for 20 s three times", _cut_often, 400, said=(("no sign of node 1",), ())),
    "cut for good": Case("cable cut for good", _cut(None), _ENDS + 120, True, (_SILENT, _SILENT)),
    "cut while ranks start": Case("cable cut for 20 s before the first step", _cut_while_starting, 400, may_end=True),
    "cut before the meeting": Case(
        "no cable for the first 20 s",
        _cut_at_start(20),
        300,
        prepare=_set(cut=True),
        said=(("waiting for node 1 to connect",), ("waiting for node 0",)),
    ),
    "30 % loss": Case(
        "30 % of the packets lost", _nothing, 600, prepare=_set(loss=0.3), steps=4, silent=300, may_end=True
    ),
    "200 ms delay": Case("200 ms delay each way", _nothing, 600, prepare=_set(delay=0.2), steps=8, silent=120),
    "loss and delay": Case(
        "10 % lost, 50 ms delay", _nothing, 600, prepare=_set(loss=0.1, delay=0.05), steps=8, silent=120
    ),
    "strangers": Case(
        "strangers at the meeting port, node 1 comes 15 s later",
        _strangers,
        400,
        options={"pauses": (0, 15)},
        said=(("a connection from", "was dropped"), ()),
    ),
    "other settings": Case(
        "another learning rate on node 1",
        _nothing,
        200,
        True,
        (_OTHER, _OTHER),
        options={"changes": {0: {"lr": 0.02}, 1: {"lr": 0.5}}},
    ),
    "other version": Case(
        "another OneFlow on node 1",
        _nothing,
        200,
        True,
        (_OLDER, _OLDER),
        options={"changes": {0: {}, 1: {"OneFlow": "0.8.0"}}},  # goes before what the program finds
    ),
    "other secret": Case(
        "another secret on node 1",
        _nothing,
        200,
        True,
        (("it does not know the secret of this run",), ("has another secret than",)),
        options={"changes": {0: {}, 1: {"join_token": str(ROOT / "Makefile")}}, "rank_timeout": 60},
    ),
    "late": Case(
        "node 1 comes 90 s later",
        _nothing,
        400,
        options={"pauses": (0, 90)},
        said=(("waiting for node 1 to connect", "s so far"), ()),
    ),
    "never": Case(
        "node 1 never comes",
        _end_node_1,
        200,
        True,
        (("error: timed out waiting for node 1 to connect",), ()),
        options={"pauses": (0, 600), "rank_timeout": 30},
    ),
    "stop 20 s": Case("machine 1 stands still for 20 s", _stop(1, 20), 300, said=(("node 1 is back",), ())),
}
