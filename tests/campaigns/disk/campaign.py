"""Let commands meet disks and limits that do not suffice: ``python -m tests.campaigns.disk.campaign``.

A command that cannot do its work has to say so in clear lines that name a file or a resource, end with a code that is
not 0 and leave nothing hidden; with more room the same command has to bring the results of an undisturbed run. Prints a
table of conditions and commands, and every fault, and ends with code 1 if there is one.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from common.errors import run_command
from tests.campaigns.disk.conditions import CONDITIONS, LOGS, Situation
from tests.campaigns.disk.places import NotPossibleError, memory_disk
from tests.campaigns.kills.campaign import run_undisturbed
from tests.campaigns.kills.jobs import STEPS, Job, training_jobs, writing_jobs
from tests.campaigns.kills.trial import Undisturbed, compare
from tests.campaigns.processes import Command
from tests.campaigns.small_runs import write_sets

_LONGEST = 600  # seconds of a command
_TRAINING, _CONVERSION = "AdamW", "recordio to OFRecord"


def _size(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def judge(code: int | None, text: str, situation: Situation) -> list[str]:
    """Return what is wrong with the end of a command under a condition, one line each."""
    if code is None:
        return [f"hung for {_LONGEST} s"]
    said = Counter(line for line in text.splitlines() if "the training continues without it" in line)
    twice = [f"said {count} times: {line}" for line, count in said.items() if count > 1]
    if code == 0:
        return [*twice, *(["ended with 0"] if situation.succeeds is False else [])]
    faults = ["failed"] if situation.succeeds else []
    if code == -signal.SIGKILL and situation.killed:
        return faults
    if code < 0:
        faults.append(f"ended by signal {-code}")
    if "Traceback" in text:
        faults.append("a traceback")
    messages = [line for line in text.splitlines() if line.startswith("error: ")]
    messages += text.rpartition(" failed: ")[2].splitlines()  # how a rank ended, and its last words
    if situation.named and not any(word in line for line in messages for word in situation.named):
        faults.append(f"no error names {' or '.join(situation.named)}")
    return faults


def try_case(job: Job, undisturbed: Undisturbed, situation: Situation, log: Path) -> list[str]:
    """Run a command under a condition and return what is wrong, one line each."""
    (words,) = job.commands(situation.folder, False)
    command = Command([*situation.prefix, *words], log.name, log, situation.environment)
    try:
        if situation.during is not None:
            while command.wait(0.01) is None:
                if job.is_under_way(situation.folder):
                    situation.during(command)
                    break
        code = command.wait(_LONGEST)
    finally:
        command.end()
    text = log.read_text(errors="replace")
    faults = judge(code, text, situation)
    if situation.killed and (code == -signal.SIGKILL or "ended by signal SIGKILL" in text):
        return faults  # the command that runs again removes what the killed process was writing
    hidden = [path.name for path in situation.folder.rglob(".*")]
    return faults + [f"left over: {name}" for name in hidden]


def finish(job: Job, undisturbed: Undisturbed, situation: Situation, log: Path) -> list[str]:
    """Run the same command with enough of everything, and return what is wrong with its results, one line each."""
    folder = situation.folder
    if not job.is_done(folder):
        (words,) = job.commands(folder, True)
        command = Command(words, log.name, log)
        try:
            code = command.wait(_LONGEST)
        finally:
            command.end()
        if code != 0 or not job.is_done(folder):
            return [f"afterwards: ended with {code}"]
    results = {**job.results(folder), **{name: undisturbed.results[name] for name in situation.lacks}}
    return [f"afterwards: {fault}" for fault in compare(undisturbed.results, results)]


def run_campaign(conditions: Sequence[str], names: Sequence[str] | None, folder: Path) -> dict[tuple[str, str], str]:
    """Return ``ok``, ``not possible here`` or the faults of each (condition, command)."""
    sets = folder / "sets"
    write_sets(sets)
    model = folder / f"whole {_TRAINING}" / "models" / "y1-arcface-emore" / f"snapshot_{STEPS}"
    known = {**training_jobs(sets), **writing_jobs(sets, model)}
    chosen = list(names or (_TRAINING, *writing_jobs(sets, model)))
    needed = chosen if chosen == [_CONVERSION] else [_TRAINING, *chosen]  # the others read its snapshot
    undisturbed = {name: run_undisturbed(known[name], folder / f"whole {name}") for name in dict.fromkeys(needed)}
    outcomes = {}
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(memory_disk(folder / "disk"))
        except NotPossibleError as error:
            disk = None
            print(f"skipped what needs a file system in memory: {error}")
        for name in chosen:
            job = known[name]
            size = _size(folder / f"whole {name}")
            for number, condition in enumerate(conditions):
                if condition == LOGS and "step" not in job.moments:
                    continue
                place, start = folder / f"{name} {number}", time.monotonic()
                log = place.with_suffix(".log")
                try:
                    with CONDITIONS[condition](place, disk, size) as situation:
                        faults = try_case(job, undisturbed[name], situation, log)
                    faults += finish(job, undisturbed[name], situation, place.with_suffix(".again.log"))
                    shutil.rmtree(situation.folder)
                except NotPossibleError as error:
                    outcomes[condition, name] = "not possible here"
                    print(f"skipped: {condition}: {error}")
                    continue
                outcomes[condition, name] = "; ".join(faults) or "ok"
                print(f"{name}, {condition}: {time.monotonic() - start:.0f} s", flush=True)
                if faults:
                    print(f"fault: {condition}, {name}: {outcomes[condition, name]}", flush=True)
                    print(log.read_text(errors="replace")[-1500:], flush=True)
    return outcomes


def table(outcomes: Mapping[tuple[str, str], str]) -> str:
    """Return the outcomes: a line for each condition, a column for each command."""
    conditions, names = (list(dict.fromkeys(key[place] for key in outcomes)) for place in (0, 1))
    lines = [f"| condition | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    short = {"ok": "ok", "not possible here": "-"}
    for condition in conditions:
        cells = [short.get(outcomes.get((condition, name), "not possible here"), "fault") for name in names]
        lines.append(f"| {condition} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--condition", action="append", choices=list(CONDITIONS), help="only this one; may be repeated")
    parser.add_argument("--job", action="append", help="only this command; may be repeated")
    args = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run_campaign(args.condition or list(CONDITIONS), args.job, Path(folder))
    faults = sum(outcome not in ("ok", "not possible here") for outcome in outcomes.values())
    print(table(outcomes))
    print(f"\n{len(outcomes)} cases, {faults} faults, {time.monotonic() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    run_command(main)
