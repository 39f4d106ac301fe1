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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Lock

from common.errors import UserError, lookup, run_command, shorten
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
    machines = Machines(job, folder, False, folder.name, log)
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


def processor_time() -> float:
    """Return the seconds of processor time that commands took so far, as far as their parents waited for them."""
    times = os.times()
    return times.children_user + times.children_system


def _kind(fault: str) -> str:
    """Return a fault without what is its own: names and numbers."""
    return "results differ" if fault.endswith(" differs") else fault.split(":")[0]


def tables(trials: Sequence[Trial]) -> str:
    """Return what was killed, when, and with what outcome."""
    kills = sum(len(outcome.kills) for _, outcome in trials)
    kinds = Counter(kind for _, outcome in trials for kind in set(map(_kind, outcome.faults)))
    lines = [*_count(trials, lambda name, kill: name, "job"), ""]
    lines += [*_count(trials, lambda name, kill: kill[0], "moment"), ""]
    lines += [*_count(trials, lambda name, kill: kill[1], "victim"), ""]
    lines += [f"in {count} runs: {kind}" for kind, count in kinds.most_common()]
    ends = sorted(end for _, outcome in trials for end in outcome.ends)
    if ends:
        lines.append(f"seconds until the last process had ended: half {ends[len(ends) // 2]}, the longest {ends[-1]}")
    bad = sum(bool(outcome.faults) for _, outcome in trials)
    return "\n".join([*lines, f"{kills} signals in {len(trials)} runs to the end, {bad} with faults"])


def read_record(path: Path) -> list[Trial]:
    """Return the trials of a record; none of a file that does not exist yet."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [
        (line["job"], Outcome(list(map(tuple, line["kills"])), line["faults"], line.get("ends", []))) for line in lines
    ]


def prepare(folder: Path) -> Path:
    """Write the sets into ``folder``, unless an earlier campaign has, and return their folder.

    Raises:
        UserError: the campaign was one of another version of the program, whose results may differ.
    """
    sets, made_by = folder / "sets", folder / "version.json"
    version = {**program_version(), "steps": STEPS}
    if made_by.is_file():
        if json.loads(made_by.read_text()) != version:
            raise UserError(f"--folder {folder} holds runs of another version of this program; remove it")
    else:
        write_sets(sets)
        made_by.write_text(json.dumps(version))
    return sets


class Campaign:
    """Kills jobs, several side by side, and records what happened."""

    def __init__(self, folder: Path, record: Path, seed: int, names: Sequence[str] | None) -> None:
        """Take the folder for everything, the file for the trials, and the names of the jobs; None for all."""
        sets = prepare(folder)
        self._jobs = training_jobs(sets)
        self._folder, self._record, self._seed = folder, record, seed
        self._undisturbed: dict[str, Undisturbed] = {}
        self._turns = defaultdict(Lock)  # so that a job runs undisturbed once
        model = folder / "whole AdamW" / "models" / "y1-arcface-emore" / f"snapshot_{STEPS}"
        self._run_undisturbed("AdamW")  # the other commands read its snapshot
        self._jobs |= writing_jobs(sets, model)
        self._names = list(names or self._jobs)
        for name in self._names:
            lookup(self._jobs, name, "job")
        self._counts = Counter(dict.fromkeys(self._names, 0))
        for name, outcome in read_record(record):
            self._counts[name] += max(len(outcome.kills), 1)
        self._number = self._done = 0
        self._lock = Lock()

    def run(self, kills: int, each: int, seconds: float, together: int) -> None:
        """Kill ``each`` times per trial until there were ``kills`` kills in all or the time is over."""
        deadline = time.monotonic() + seconds

        def serve() -> None:
            while self._done < kills and time.monotonic() < deadline:
                self._run_trial(min(each, kills - self._done), deadline)

        with ThreadPoolExecutor(together) as pool:
            for future in [pool.submit(serve) for _ in range(together)]:
                future.result()

    def _run_undisturbed(self, name: str) -> None:
        with self._turns[name]:
            if name not in self._undisturbed:
                self._undisturbed[name] = run_undisturbed(self._jobs[name], self._folder / f"whole {name}")

    def _run_trial(self, kills: int, until: float) -> None:
        with self._lock:
            name, seed = min(self._names, key=self._counts.__getitem__), self._seed * 1000 + self._number
            self._number += 1
            self._counts[name] += kills
        self._run_undisturbed(name)
        place = self._folder / f"trial {seed}"
        place.mkdir()
        outcome = run_trial(self._jobs[name], place, seed, kills, self._undisturbed[name], until)
        with self._lock:
            done = max(len(outcome.kills), 1)
            self._counts[name] += done - kills
            self._done += done
            with open(self._record, "a") as handle:
                handle.write(json.dumps({"job": name, "seed": seed, **asdict(outcome)}) + "\n")
            if outcome.faults:
                shown = "; ".join(shorten(outcome.faults, "faults", 5))
                print(f"fault: {name}, seed {seed}, {outcome.kills}: {shown}", flush=True)
                print(place.with_suffix(".log").read_text(errors="replace")[-6000:], flush=True)
        shutil.rmtree(place)
        if not outcome.faults:  # with --folder the output of the others can be read later
            place.with_suffix(".log").unlink()


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=330, help="signals in all; default %(default)s")
    parser.add_argument("--each", type=int, default=12, help="signals before a run may end; default %(default)s")
    parser.add_argument("--seconds", type=float, default=7200, help="kill no more after these; default %(default)s")
    parser.add_argument("--together", type=int, default=2, help="trials side by side; default %(default)s")
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
        campaign = Campaign(folder.resolve(), record, args.seed, args.job)
        campaign.run(args.kills, args.each, args.seconds, args.together)
        trials = read_record(record)
    took = f"{time.monotonic() - start:.0f} s, {processor_time():.0f} s of processor time"
    print(f"{tables(trials)}, seed {args.seed}, {took}")
    return 1 if any(outcome.faults for _, outcome in trials[earlier:]) else 0


if __name__ == "__main__":
    run_command(main)
