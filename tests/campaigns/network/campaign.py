"""Disturb the network of two machines: ``python -m tests.campaigns.network.campaign``.

The machines are network namespaces with a cable between them (tests/support/wire.py), which needs root. Prints a table
of cases and every fault, and ends with code 1 if there is one.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.campaigns.network.cases import CASES, Case
from tests.campaigns.network.trial import STEPS, Run, running, snapshot_step
from tests.support.nodes import Machine, NoNamespacesError
from tests.support.wire import Wire, wired_machines

_ENDS = ("error: lost node", "failed: OneFlow ended it: ")  # clear lines of a run that may end


@dataclass
class Outcome:
    """What a case showed.

    Attributes:
        seconds: how long the disturbed run took.
        last: the last step that it logged.
        resumed: the step that it was resumed from; None where it was not.
        silence: the longest time without a word of a node, seconds.
        faults: what was not as expected.
    """

    seconds: float
    last: int
    silence: float
    resumed: int | None = None
    faults: list[str] = field(default_factory=list)


def _judge(case: Case, run: Run, expected: dict[int, float]) -> list[str]:
    """Return what differs from what the case expects, one line each."""
    if case.may_end and all(told.code == 1 and any(map(told.says, _ENDS)) for told in run.told):
        case = replace(case, lost=True)
    faults = []
    for node, told in enumerate(run.told):
        if told.code not in ((1,) if case.lost else (0,)) and not (case.options.get("pauses") and case.lost and node):
            faults.append(f"node {node} ended with {told.code}")
        if case.said[node] and not told.says(*case.said[node]):
            faults.append(f"node {node} did not say: {' ... '.join(case.said[node])}")
    losses = run.losses()
    faults += [f"loss of step {step} differs" for step in losses if losses[step] != expected.get(step)][:3]
    if not case.lost and (missing := set(range(1, case.steps + 1)) - losses.keys()):
        faults.append(f"{len(missing)} steps are missing")
    return faults


def _resume(folder: Path, case: Case, machines: tuple[Machine, Machine], expected: dict[int, float]) -> list[str]:
    """Run an ended training to its end; return what differs."""
    with running(folder / "again", folder / "models", machines, case.steps, resume=True) as run:
        faults = run.wait(600, 300)
        faults += [f"resumed: node {node} ended with {told.code}" for node, told in enumerate(run.told) if told.code]
    losses = run.losses()
    faults += [f"resumed: loss of step {step} differs" for step in losses if losses[step] != expected[step]][:3]
    return faults + ([] if case.steps in losses else ["resumed: the last step is missing"])


def run_case(
    case: Case, folder: Path, machines: tuple[Machine, Machine], wire: Wire, expected: dict[int, float], silent: float
) -> Outcome:
    """Run one case, and resume what it ended; the wire is whole afterwards.

    Args:
        case: what happens.
        folder: for all files.
        machines: the two machines.
        wire: the cable between them.
        expected: the losses of an undisturbed run.
        silent: the longest time without a word of an undisturbed run, seconds; much on a busy machine.
    """
    start = time.monotonic()
    case.prepare(wire)
    try:
        with running(folder / "run", folder / "models", machines, case.steps, **case.options) as run:
            case.disturb(run, wire, machines)
            faults = run.wait(case.seconds, max(case.silent, 3 * silent))
            for node, told in enumerate(run.told):
                print(*(f"    node {node} {when:6.1f} s: {line}" for when, line in told.lines), sep="\n", flush=True)
    finally:
        wire.cut, wire.loss, wire.delay = False, 0.0, 0.0
    faults += _judge(case, run, expected)
    silence = max(told.longest_silence(run.told[0].step_times) for told in run.told)
    outcome = Outcome(time.monotonic() - start, max(run.losses(), default=0), silence, faults=faults)
    if case.lost and run.losses():
        outcome.resumed = snapshot_step(folder / "models")
        outcome.faults += _resume(folder, case, machines, expected)
    return outcome


def undisturbed(folder: Path, machines: tuple[Machine, Machine]) -> tuple[dict[int, float], float]:
    """Return the losses of a run that nothing disturbs, and its longest time without a word, seconds."""
    with running(folder / "run", folder / "models", machines) as run:
        faults = run.wait(600, 600)
    if any(told.code for told in run.told) or len(run.losses()) != STEPS:
        raise RuntimeError(f"the undisturbed run failed: {faults} {[told.lines for told in run.told]}")
    return run.losses(), max(told.longest_silence(run.told[0].step_times) for told in run.told)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=list(CASES), action="append", help="only this one; may be repeated")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    start = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("OMP_NUM_THREADS", "1")
        try:
            with wired_machines() as (machines, wire):
                expected, silent = undisturbed(Path(folder) / "undisturbed", machines)
                for name in args.case or CASES:
                    print(f"{name}: {CASES[name].what}", flush=True)
                    outcomes[name] = run_case(CASES[name], Path(folder) / name, machines, wire, expected, silent)
                    print(*(f"fault: {name}: {fault}" for fault in outcomes[name].faults), sep="\n", flush=True)
        except NoNamespacesError as error:
            print(f"0 cases, 0 faults: skipped, no network namespaces here ({error})")
            return 0
    print("| case | ends | seconds | last step | resumed from | longest silence, s | faults |\n" + "|---" * 7 + "|")
    for name, outcome in outcomes.items():
        case = CASES[name]
        cells = [case.what, "in clear lines" if case.lost else "all steps", f"{outcome.seconds:.0f}", outcome.last]
        cells += ["" if outcome.resumed is None else outcome.resumed, f"{outcome.silence:.0f}", len(outcome.faults)]
        print("|", " | ".join(map(str, cells)), "|")
    faults = sum(len(outcome.faults) for outcome in outcomes.values())
    print(f"\n{len(outcomes)} cases, {faults} faults, {time.monotonic() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
