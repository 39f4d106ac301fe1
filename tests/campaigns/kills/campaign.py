"""Kill commands at random moments: ``python -m tests.campaigns.kills.campaign --kills 300 --seed 1``.

Prints tables of jobs, moments and victims, and every fault with what repeats it, and ends with code 1 if there is one.
The moments depend on the speed of the machine, so a fault may need several tries. With ``--record`` the trials are
appended to a file, and the tables are those of all trials in it.
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
from pathlib import Path

from common.errors import run_command
from tests.campaigns.kills.jobs import STEPS, Job, training_jobs, writing_jobs
from tests.campaigns.kills.trial import SIGNALS, Machines, Outcome, Undisturbed, run_trial
from tests.campaigns.small_runs import write_sets

_LONGEST = 900  # seconds of an undisturbed run

Trial = tuple[str, Outcome]


def run_undisturbed(job: Job, folder: Path) -> Undisturbed:
    """Return the results of a job that is not killed, and how long it took.

    Raises:
        RuntimeError: it failed.
    """
    folder.mkdir()
    log = folder.with_suffix(".log")
    start = time.monotonic()
    machines = Machines(job, folder, False, f"{folder.name}-{os.getpid()}", log)
    first = None
    try:
        while (code := machines.wait(0.02)) is None and time.monotonic() < start + _LONGEST:
            if first is None and any(trigger(folder) for trigger, _ in job.moments.values()):
                first = time.monotonic() - start
    finally:
        machines.end()
    if code != 0 or not job.is_done(folder):
        raise RuntimeError(f"{folder.name} ended with {code}:\n{log.read_text()[-3000:]}")
    whole = time.monotonic() - start
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
    return "\n".join([*lines, f"{kills} signals in {len(trials)} runs to the end, {sum(kinds.values())} faults"])


def read_record(path: Path) -> list[Trial]:
    """Return the trials of a record."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["job"], Outcome([tuple(kill) for kill in line["kills"]], line["faults"])) for line in lines]


def run_campaign(
    kills: int, each: int, seconds: float, seed: int, names: Sequence[str] | None, record: Path, folder: Path
) -> None:
    """Kill all jobs in turn, ``each`` times per trial, until there were ``kills`` kills in all or the time is over."""
    start, sets = time.monotonic(), folder / "sets"
    write_sets(sets)
    known = training_jobs(sets)
    undisturbed = {"AdamW": run_undisturbed(known["AdamW"], folder / "whole AdamW")}
    (model,) = (folder / "whole AdamW").glob(f"models/*/snapshot_{STEPS}")
    known |= writing_jobs(sets, model)
    chosen = list(known) if names is None else list(names)
    number = done = 0
    while done < kills and time.monotonic() < start + seconds:
        name = chosen[number % len(chosen)]
        if name not in undisturbed:
            undisturbed[name] = run_undisturbed(known[name], folder / f"whole {name}")
        place = folder / f"trial {number}"
        place.mkdir()
        own = seed * 1000 + number
        outcome = run_trial(known[name], place, own, min(each, kills - done), undisturbed[name])
        with open(record, "a") as handle:
            line = {"job": name, "seed": own, "kills": outcome.kills, "faults": outcome.faults}
            handle.write(json.dumps(line) + "\n")
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
    parser.add_argument("--kills", type=int, default=300, help="kills in all; default %(default)s")
    parser.add_argument("--each", type=int, default=8, help="kills before a run may end; default %(default)s")
    parser.add_argument("--seconds", type=float, default=7200, help="begin no trial after these; default %(default)s")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--job", action="append", help="only this one; may be repeated")
    parser.add_argument("--record", type=Path, help="file that the trials are appended to")
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        record = args.record or Path(folder) / "record.jsonl"
        earlier = len(read_record(record)) if record.is_file() else 0
        run_campaign(args.kills, args.each, args.seconds, args.seed, args.job, record, Path(folder))
        trials = read_record(record)
    print(f"{tables(trials)}, seed {args.seed}, {time.monotonic() - start:.0f} s")
    return 1 if any(outcome.faults for _, outcome in trials[earlier:]) else 0


if __name__ == "__main__":
    run_command(main)
