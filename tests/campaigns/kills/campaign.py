"""Kill commands at random moments: ``python -m tests.campaigns.kills.campaign --kills 300 --seed 1``.

Prints a table of jobs, and every fault with what repeats it, and ends with code 1 if there is one. The moments depend
on the speed of the machine, so a fault may need several tries.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.campaigns.kills.jobs import Job, jobs, write_sets
from tests.campaigns.kills.trial import Command, Outcome, run_trial


def run_undisturbed(job: Job, folder: Path) -> tuple[dict[str, object], float]:
    """Return the results of a job that is not killed, and how long it took."""
    command = Command(job.command(folder, False), folder.name, folder.with_suffix(".log"))
    start = time.monotonic()
    try:
        code = command.wait(900)
    finally:
        command.end()
    if code != 0:
        raise RuntimeError(f"{folder.name} ended with {code}:\n{folder.with_suffix('.log').read_text()[-3000:]}")
    return dict(job.results(folder)), time.monotonic() - start


def table(outcomes: dict[str, list[Outcome]]) -> str:
    """Return the numbers of each job, one line each."""
    lines = ["| job | runs to the end | kills | " + " | ".join(("KILL", "TERM", "INT", "STOP")) + " | faults |"]
    lines.append("|---" * 8 + "|")
    for name, own in outcomes.items():
        signals = Counter(kill[2] for outcome in own for kill in outcome.kills)
        counts = " | ".join(str(signals[each]) for each in ("KILL", "TERM", "INT", "STOP"))
        faults = sum(bool(outcome.faults) for outcome in own)
        lines.append(f"| {name} | {len(own)} | {sum(signals.values())} | {counts} | {faults} |")
    return "\n".join(lines)


def run_campaign(kills: int, each: int, seed: int, names: list[str] | None, folder: Path) -> dict[str, list[Outcome]]:
    """Kill all jobs in turn, ``each`` times per trial, until there were ``kills`` kills in all."""
    sets = folder / "sets"
    write_sets(sets)
    chosen = {name: job for name, job in jobs(sets).items() if names is None or name in names}
    undisturbed = {name: run_undisturbed(job, folder / f"whole {name}") for name, job in chosen.items()}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in chosen}
    number = done = 0
    while done < kills:
        name = list(chosen)[number % len(chosen)]
        expected, seconds = undisturbed[name]
        place = folder / f"trial {number}"
        place.mkdir()
        outcome = run_trial(chosen[name], place, seed * 1000 + number, min(each, kills - done), seconds, expected)
        outcomes[name].append(outcome)
        if outcome.faults:
            print(
                f"fault: {name}, seed {seed * 1000 + number}, {outcome.kills}: {'; '.join(outcome.faults)}", flush=True
            )
            print(place.with_suffix(".log").read_text(errors="replace")[-3000:], flush=True)
        shutil.rmtree(place)
        number += 1
        done += max(len(outcome.kills), 1)
    return outcomes


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300, help="kills in all; default %(default)s")
    parser.add_argument("--each", type=int, default=3, help="kills before a run may end; default %(default)s")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--job", action="append", help="only this one; may be repeated")
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run_campaign(args.kills, args.each, args.seed, args.job, Path(folder))
    faults = sum(bool(outcome.faults) for own in outcomes.values() for outcome in own)
    kills = sum(len(outcome.kills) for own in outcomes.values() for outcome in own)
    print(table(outcomes))
    print(f"\n{kills} kills, {faults} faults, seed {args.seed}, {time.monotonic() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
