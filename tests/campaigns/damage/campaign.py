"""Damage many files and read them: ``python -m tests.campaigns.damage.campaign --count 10000 --seed 1``.

Prints a table of formats and every fault with what repeats it, and ends with code 1 if there is one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError  # before Python 3.11 a class of its own
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Any

from common.errors import run_command
from tests.campaigns.damage.formats import FORMATS

ROOT = Path(__file__).resolve().parents[3]
# Seconds after which a worker is ended: many, as the machine may be busy; a worker limits its processor time itself.
_HUNG = 300

Case = dict[str, Any]


class Worker:
    """A process that reads damaged sets; started again after it has crashed or hung."""

    def __init__(self) -> None:
        """Start it."""
        self._start()

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()  # here, as the process is killed in the end
        command = [sys.executable, "-m", "tests.campaigns.damage.worker", self._folder.name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        # Libraries may print lines of their own.
        if not any(line == "ready\n" for line in self._process.stdout):
            raise RuntimeError("the worker does not read the valid sets; its messages are above")

    def run(self, name: str, seed: int) -> Case:
        """Return the outcome of one case."""
        timer = ThreadPoolExecutor(1)
        self._process.stdin.write(json.dumps([name, seed]) + "\n")
        self._process.stdin.flush()
        answer = timer.submit(self._answer)
        try:
            return answer.result(_HUNG)
        except (FutureTimeoutError, EOFError) as error:
            self.close()
            how = "hung" if isinstance(error, FutureTimeoutError) else f"ended by {self._process.returncode}"
            self._start()
            return {
                "format": name,
                "seed": seed,
                "kind": "fault",
                "text": f"the reading process {how}",
                "seconds": _HUNG,
            }
        finally:
            timer.shutdown(wait=False)

    def _answer(self) -> Case:
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise EOFError

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def run_cases(cases: Sequence[tuple[str, int]], workers: int = 2, seconds: float = float("inf")) -> Iterator[Case]:
    """Yield the outcomes of (format, seed); begin none after ``seconds``."""
    waiting, lock, found = iter(cases), Lock(), Queue()
    deadline = time.monotonic() + seconds

    def serve() -> None:
        try:
            worker = Worker()
            try:
                while time.monotonic() < deadline:
                    with lock:
                        case = next(waiting, None)
                    if case is None:
                        break
                    found.put(worker.run(*case))
            finally:
                worker.close()
        finally:
            found.put(None)

    with ThreadPoolExecutor(workers) as pool:
        serving = [pool.submit(serve) for _ in range(workers)]
        for _ in range(workers):
            yield from iter(found.get, None)
    for future in serving:
        future.result()


def spread(count: int, seed: int, formats: Sequence[str] = tuple(FORMATS)) -> list[tuple[str, int]]:
    """Return ``count`` cases: round after round over the formats, those that take long in some of them."""
    rounds = (name for number in itertools.count() for name in formats if number % FORMATS[name].every == 0)
    return [(name, seed * 1_000_000 + number) for number, name in enumerate(itertools.islice(rounds, count))]


def table(outcomes: Sequence[Case]) -> str:
    """Return the numbers of each format, one line each."""
    kinds = Counter((case["format"], case["kind"]) for case in outcomes)
    slowest = {name: max((c["seconds"] for c in outcomes if c["format"] == name), default=0.0) for name in FORMATS}
    lines = ["| format | files | read | refused | faults | slowest, s |", "|---|---|---|---|---|---|"]
    for name in FORMATS:
        read, refused, faults = (kinds[name, kind] for kind in ("read", "refused", "fault"))
        if read + refused + faults:
            lines.append(
                f"| {name} | {read + refused + faults} | {read} | {refused} | {faults} | {slowest[name]:.2f} |"
            )
    return "\n".join(lines)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="files to damage; default %(default)s")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--format", choices=list(FORMATS), action="append", help="only this one; may be repeated")
    parser.add_argument("--skip", type=int, default=0, help="begin with this one of them; default %(default)s")
    parser.add_argument("--seconds", type=float, default=7200, help="begin no file after these; default %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="reading processes; default %(default)s")
    args = parser.parse_args()
    start = time.perf_counter()
    cases = spread(args.count, args.seed, args.format or list(FORMATS))[args.skip :]
    outcomes, faults = [], 0
    for case in run_cases(cases, args.workers, args.seconds):
        outcomes.append(case)
        if case["kind"] == "fault":
            faults += 1
            about = json.dumps({key: value for key, value in case.items() if key != "text"})
            print(f"fault: {about}\n{case['text']}\n", flush=True)
    print(table(outcomes))
    seconds = f"{time.perf_counter() - start:.0f} s"
    print(f"\n{len(outcomes)} files, {faults} faults, seed {args.seed}, from {args.skip}, {seconds}")
    return 1 if faults else 0


if __name__ == "__main__":
    run_command(main)
