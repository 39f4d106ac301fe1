"""Kill commands at random moments: ``python -m tests.campaigns.kills.campaign --kills 300 --seed 1``.

Prints tables of jobs, moments and victims, and every fault with what repeats it, and ends with code 1 if there is one.
The moments depend on the speed of the machine, so a fault may need several tries. With ``--record`` the trials are
appended to a file, the job with the fewest signals in it is always the next, and the tables are those of all trials in
it. With ``--folder`` the undisturbed runs stay there for the next campaign.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from common.errors import UserError, lookup, run_command
from launch.program_version import program_version
from tests.campaigns.kills.jobs import STEPS, Job, training_jobs, writing_jobs
from tests.campaigns.kills.trial import SIGNALS, Machines, Outcome, Undisturbed, run_trial
from tests.campaigns.small_runs import write_sets

_LONGEST = 900  # seconds of an undisturbed run

Trial = tuple[str, Outcome]


def run_undisturbed(job: Job, folder: Path) -> Undisturbed:
    """Return the results of a job that is not killed, and how long it took.

    A run that is complete in ``folder`` is not repeated.

    Raises:
        RuntimeError: it failed.
    """
    times = folder.with_suffix(".json")
    if times.is_file():
        return Undisturbed(dict(job.results(folder)), *json.loads(times.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    log = folder.with_suffix(".log")
    start = time.monotonic()
    machines = Machines(job, folder, False, f"{folder.name}-{os.getpid()}", log)
    first = None
    try:
        while (code := machines.wait(0.02)) is None and time.monotonic() < start + _LONGEST:
            if first is None and job.is_under_way(folder):
                first = time.monotonic() - start
    finally:
        machines.end()
    if code != 0 or not job.is_done(folder):
        raise RuntimeError(f"{folder.name} ended with {code}:\n{log.read_text()[-3000:]}")
    whole = time.monotonic() - start
    times.write_text(json.dumps([first or whole, whole]))
    return Undisturbed(dict(job.results(folder)), first or whole, whole)


def _count(trials: Iterable[Trial], row: Callable[[str, tuple[str, str, str]], str], title: str) -> list[str]:
    """Return a table of signals; ``row`` says which line a kill of a job counts in."""
    counts = Counter((row(name, kill), kill[2]) for name, outcome in trials for kill in outcome.kills)
    lines = [f"| {title} | {' | '.join(SIGNALS)} | all |", "|---" * (len(SIGNALS) + 2) + "|"]
    for each in dict.fromkeys(key for key, _ in counts):
        own = [counts[each, signal] for signal in SIGNALS]
        lines.append(f"| {each} | {' | '.join(map(str, own))} | {sum(own)} |")
    return lines


def tables(trials: Sequence[Trial]) -> str:
    """Return what was killed, when, and with what outcome."""
    kills = sum(len(outcome.kills) for _, outcome in trials)
    kinds = Counter(fault.split(":")[0] for _, outcome in trials for fault in outcome.faults)
    lines = [*_count(trials, lambda name, kill: name, "job"), ""]
    lines += [*_count(trials, lambda name, kill: kill[0], "moment"), ""]
    lines += [*_count(trials, lambda name, kill: kill[1], "victim"), ""]
    lines += [f"{count} x {kind}" for kind, count in kinds.most_common()]
    ends = sorted(end for _, outcome in trials for end in outcome.ends)
    if ends:
        lines.append(f"seconds until the last process had ended: half {ends[len(ends) // 2]}, the longest {ends[-1]}")
    processor = sum(outcome.processor for _, outcome in trials)
    measured = sum(len(outcome.kills) for _, outcome in trials if outcome.processor)
    lines.append(f"processor time of a signal: {processor / max(measured, 1):.1f} s")
    return "\n".join([*lines, f"{kills} signals in {len(trials)} runs to the end, {sum(kinds.values())} faults"])


def read_record(path: Path) -> list[Trial]:
    """Return the trials of a record; none of a file that does not exist yet."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [
        (
            line["job"],
            Outcome(list(map(tuple, line["kills"])), line["faults"], line.get("ends", []), line.get("processor", 0.0)),
        )
        for line in lines
    ]


def _append(record: Path, name: str, seed: int, outcome: Outcome) -> None:
    with open(record, "a") as handle:
        handle.write(json.dumps({"job": name, "seed": seed, **asdict(outcome)}) + "\n")


def _rarest(names: Sequence[str], record: Path) -> str:
    """Return the job with the fewest signals so far."""
    counts = Counter(dict.fromkeys(names, 0))
    for name, outcome in read_record(record):
        counts[name] += max(len(outcome.kills), 1)
    return min(names, key=counts.__getitem__)


def prepare(folder: Path) -> Path:
    """Write the sets into ``folder``, unless an earlier campaign has, and return their folder.

    Raises:
        UserError: the campaign was one of another version of the program, whose results may differ.
    """
    sets, made_by = folder / "sets", folder / "version.json"
    if made_by.is_file():
        if json.loads(made_by.read_text()) != program_version():
            raise UserError(f"--folder {folder} holds runs of another version of this program; remove it")
    else:
        write_sets(sets)
        made_by.write_text(json.dumps(program_version()))
    return sets


def run_campaign(
    kills: int, each: int, seconds: float, seed: int, names: Sequence[str] | None, record: Path, folder: Path
) -> None:
    """Kill jobs, ``each`` times per trial, until there were ``kills`` kills in all or the time is over."""
    start, sets = time.monotonic(), prepare(folder)
    known = training_jobs(sets)
    undisturbed = {"AdamW": run_undisturbed(known["AdamW"], folder / "whole AdamW")}
    (model,) = (folder / "whole AdamW").glob(f"models/*/snapshot_{STEPS}")
    known |= writing_jobs(sets, model)
    chosen = list(names or known)
    for name in chosen:
        lookup(known, name, "job")
    number = done = 0
    while done < kills and time.monotonic() < start + seconds:
        name, own = _rarest(chosen, record), seed * 1000 + number
        if name not in undisturbed:
            undisturbed[name] = run_undisturbed(known[name], folder / f"whole {name}")
        place = folder / f"trial {own}"
        place.mkdir()
        outcome = run_trial(known[name], place, own, min(each, kills - done), undisturbed[name])
        _append(record, name, own, outcome)
        if outcome.faults:
            print(f"fault: {name}, seed {own}, {outcome.kills}: {'; '.join(outcome.faults)}", flush=True)
            print(place.with_suffix(".log").read_text(errors="replace")[-6000:], flush=True)
        shutil.rmtree(place)
        place.with_suffix(".log").unlink()
        number += 1
        done += max(len(outcome.kills), 1)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300, help="signals in all; default %(default)s")
    parser.add_argument("--each", type=int, default=12, help="signals before a run may end; default %(default)s")
    parser.add_argument("--seconds", type=float, default=7200, help="begin no trial after these; default %(default)s")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--job", action="append", help="only this one; may be repeated")
    parser.add_argument("--record", type=Path, help="file that the trials are appended to")
    parser.add_argument("--folder", type=Path, help="folder for everything, which keeps the undisturbed runs")
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        record = args.record or Path(temporary) / "record.jsonl"
        earlier = len(read_record(record))
        run_campaign(args.kills, args.each, args.seconds, args.seed, args.job, record, folder.resolve())
        trials = read_record(record)
    print(f"{tables(trials)}, seed {args.seed}, {time.monotonic() - start:.0f} s")
    return 1 if any(outcome.faults for _, outcome in trials[earlier:]) else 0


if __name__ == "__main__":
    run_command(main)
