"""Compare the check of a dataset with the bare decoder: ``python benchmarks/bench_check.py``.

The decoder is simplejpeg, called in a loop on JPEGs in memory by processes that run already: the speed of a check that
reads, compares and reports nothing. The check opens a set in RecordIO, decodes every image, counts and compares them.
Both use as many cores and take turns; ratios are between turns of one round. Ratios of processor time hardly depend on
the machine's other load, ratios of time do.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import NamedTuple

import simplejpeg

from benchmarks.arguments import Parser, positive_int
from benchmarks.other_load import NOTEWORTHY, OtherLoad
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from benchmarks.sample_images import SIZE, make_images
from common.errors import run_command
from common.workers import available_cpus
from data.checking.check import check_set
from data.checking.inspect import inspect
from data.listing import open_listing
from data.recordio.writer import write_insightface_recordio

PERSON = 10  # images of a person
DECODER, PASS, CHECK = "bare decoder", "the pass that decodes", "the whole check"
HEADER = ("", "images/s", "of decoder", "images/cpu s", "of decoder (cpu)")


class Turn(NamedTuple):
    """Seconds of a turn: by the clock, and of processor time on all cores."""

    clock: float
    cpu: float


@dataclass(frozen=True)
class CheckRow:
    """A line of the table; ratios are medians of the rounds."""

    label: str
    images_per_second: float
    of_decoder: float
    images_per_cpu_second: float
    of_decoder_cpu: float


def decode_on_command(connection: Connection, encoded: Sequence[bytes]) -> None:
    """Decode ``count`` images for each ``count`` that comes, and answer with the processor seconds; 0 ends it."""
    while count := connection.recv():
        start = time.process_time()
        for number in range(count):
            simplejpeg.decode_jpeg(encoded[number % len(encoded)])
        connection.send(time.process_time() - start)


@contextmanager
def bare_decoder(encoded: Sequence[bytes], images: int, cores: int) -> Iterator[Callable[[], None]]:
    """Yield a function that decodes ``images`` on ``cores`` processes and returns the turn."""
    context, connections, processes = get_context("spawn"), [], []
    for _ in range(cores):
        ours, theirs = context.Pipe()
        process = context.Process(target=decode_on_command, args=(theirs, encoded), daemon=True)
        process.start()
        connections.append(ours)
        processes.append(process)

    def decode() -> Turn:
        start = time.perf_counter()
        for connection in connections:
            connection.send(images // cores)
        cpu = sum(connection.recv() for connection in connections)
        return Turn(time.perf_counter() - start, cpu)

    decode()  # the first turn waits for the processes to start
    yield decode
    for connection, process in zip(connections, processes, strict=True):
        connection.send(0)
        process.join()


def timed(function: Callable[[], object]) -> Turn:
    """Call a function and return the turn, its processes and threads included."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in used)

    start, before = time.perf_counter(), cpu()
    function()
    return Turn(time.perf_counter() - start, cpu() - before)


def measure(folder: Path, encoded: Sequence[bytes], images: int, cores: int, rounds: int) -> dict[str, list[Turn]]:
    """Return the turns of each contestant; ``folder`` is a set of ``images`` images, repetitions of ``encoded``."""
    turns: dict[str, list[Turn]] = {DECODER: [], PASS: [], CHECK: []}
    with bare_decoder(encoded, images, cores) as decode:
        for _ in range(rounds):
            turns[DECODER].append(decode())
            turns[PASS].append(timed(lambda: inspect(open_listing(folder), cores)))
            turns[CHECK].append(timed(lambda: check_set(open_listing(folder), [], cores)))
    return turns


def make_rows(turns: dict[str, list[Turn]], images: int) -> list[CheckRow]:
    """Return a line for each contestant."""
    rows = []
    for label, own in turns.items():
        clock, cpu = (
            median(getattr(a, kind) / getattr(b, kind) for a, b in zip(turns[DECODER], own, strict=True))
            for kind in ("clock", "cpu")
        )
        rows.append(
            CheckRow(label, images / median(t.clock for t in own), clock, images / median(t.cpu for t in own), cpu)
        )
    return rows


def row_cells(row: CheckRow) -> list[str]:
    """Return a row as text, in the order of ``HEADER``."""
    numbers = (f"{row.images_per_second:.0f}", f"{row.of_decoder:.2f}", f"{row.images_per_cpu_second:.0f}")
    return [row.label, *numbers, f"{row.of_decoder_cpu:.2f}"]


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: a flag or value is unknown.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive_int, default=20000, help="images in the set")
    parser.add_argument("--distinct", type=positive_int, default=20000, help="different images; the others repeat them")
    parser.add_argument("--cores", type=positive_int, default=available_cpus(), help="processes or threads of both")
    parser.add_argument("--rounds", type=positive_int, default=5, help="turns per contestant")
    parser.add_argument("--json", default="", help="file for all numbers")
    return parser.parse_args()


def main() -> None:
    """Measure and print the table."""
    args = parse_arguments()
    print(format_machine(describe_machine()))
    encoded = [image for image, _ in make_images(min(args.distinct, args.images))]
    load = OtherLoad()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        images = ((encoded[number % len(encoded)], number // PERSON) for number in range(args.images))
        write_insightface_recordio(folder, images, None, SIZE)
        turns = measure(Path(folder), encoded, args.images, args.cores, args.rounds)
    rows, share = make_rows(turns, args.images), load.share()
    mean_bytes = sum(map(len, encoded)) / len(encoded)
    print(
        f"{args.images} JPEGs of {SIZE}x{SIZE} and {mean_bytes / 1000:.1f} kB, {len(encoded)} different ones, "
        f"{args.cores} cores, {args.rounds} rounds"
    )
    print(format_table(HEADER, [row_cells(row) for row in rows]))
    if share > NOTEWORTHY:
        print(f"measured under load: other programs used {share:.0%} of the machine")
    if args.json:
        content = {"settings": vars(args), "other_load": share, "mean_bytes": mean_bytes}
        write_json(args.json, {**content, "rows": [asdict(row) for row in rows], "turns": turns})


if __name__ == "__main__":
    run_command(main)
