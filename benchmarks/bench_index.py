"""Measure the index of a first start: ``python benchmarks/bench_index.py``.

Parts and a ``.rec`` of the same images (random bytes of 5 to 9 kB, as MS1M's JPEGs are long) are indexed in turn, each
once per round, from the page cache. The reference reads the parts record by record and parses each as a message, as the
formats' plain readers do. Every ratio is between turns of one round, in wall and in processor time.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import Parser, positive_int
from benchmarks.report import format_table, run_bench
from common.errors import run_command
from common.progress import progress
from data.ofrecord.records import LENGTH, encode_train_record, list_parts, locate_train_image, read_part, write_record
from data.recordio.property import Property, write_property
from data.recordio.records import ImageHeader, RecordWriter, pack_record
from data.sources.ofrecord import INDEX_FILE, open_part_index
from data.sources.record_scan import RECORD
from data.sources.recordio import open_record_index

LENGTHS = (5000, 9000)
PER_PERSON = 20
HEADER = ("images in", "us an image", "CPU us an image", "wall", "CPU")


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: a flag or value is unknown.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive_int, default=100_000, help="images of the set")
    parser.add_argument("--parts", type=positive_int, default=2, help="parts of the set")
    parser.add_argument("--rounds", type=positive_int, default=3, help="turns of each")
    parser.add_argument("--json", default="", help="file for all numbers")
    return parser.parse_args()


def write_set(folder: Path, images: int, parts: int) -> None:
    """Write the same images as ``train.rec`` with its ``property``, and as parts in ``parts/``."""
    rng = np.random.default_rng(0)
    write_property(folder, Property((images - 1) // PER_PERSON + 1, 112, 112))
    (folder / "parts").mkdir()
    with open(folder / "train.rec", "wb") as records:
        writer = RecordWriter(records)
        for part, numbers in enumerate(progress(np.array_split(range(images), parts), desc="writing", unit="part")):
            with open(folder / "parts" / f"part-{part:05d}", "wb") as handle:
                for number in numbers.tolist():
                    image, label = rng.bytes(int(rng.integers(*LENGTHS))), number // PER_PERSON
                    writer.write(pack_record(ImageHeader((float(label),), number), image))
                    write_record(handle, encode_train_record(image, label))


def index_by_messages(folder: Path) -> np.ndarray:
    """Return ``RECORD`` [N] of the parts, each record read and parsed by itself."""
    rows = []
    for part in list_parts(folder / "parts"):
        for offset, payload in read_part(part):
            begin, length, label = locate_train_image(payload)
            rows.append((offset, LENGTH.size + begin, length, label))
    return np.array(rows, RECORD)


def index_parts(folder: Path) -> np.ndarray:
    """Return ``RECORD`` [N] of the parts, as a first start makes and stores them."""
    (folder / "parts" / INDEX_FILE).unlink(missing_ok=True)
    return open_part_index(list_parts(folder / "parts")).records


def index_rec(folder: Path) -> np.ndarray:
    """Return ``RECORD`` [N] of the ``.rec``, as a first start makes and stores them."""
    (folder / ".train.rec-index").unlink(missing_ok=True)
    return open_record_index(folder / "train.rec").records


CONTESTANTS: dict[str, Callable[[Path], np.ndarray]] = {
    "parts, message by message": index_by_messages,
    "parts": index_parts,
    ".rec": index_rec,
}


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(folder: Path, rounds: int) -> dict[str, np.ndarray]:
    """Return the wall and processor seconds of each turn, [rounds, 2] for each contestant.

    Raises:
        RuntimeError: two indexes differ where they must not.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        found = {}
        for name, index in CONTESTANTS.items():
            start, cpu = time.perf_counter(), cpu_seconds()
            found[name] = index(folder)
            times[name].append((time.perf_counter() - start, cpu_seconds() - cpu))
        reference, parts, rec = found.values()
        if parts.tobytes() != reference.tobytes() or not np.array_equal(rec["label"], parts["label"]):
            raise RuntimeError("the indexes differ")
    return {name: np.array(turns) for name, turns in times.items()}


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table, and return its contents."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        write_set(Path(name), args.images, args.parts)
        times = measure(Path(name), args.rounds)
    reference, rows = next(iter(times.values())), []
    for label, turns in times.items():
        wall, cpu = np.median(turns, axis=0) / args.images * 1e6
        ratios = np.median(turns / reference, axis=0)
        rows.append((label, f"{wall:.1f}", f"{cpu:.1f}", *(f"{ratio:.2f}" for ratio in ratios)))
    print(f"{args.images} images of {LENGTHS[0]} to {LENGTHS[1]} bytes, {args.parts} parts, {args.rounds} rounds")
    print(format_table(HEADER, rows))
    return {"turns": {label: turns.tolist() for label, turns in times.items()}}


def main() -> None:
    """Measure and print the table."""
    args = parse_arguments()
    run_bench(bench, args)


if __name__ == "__main__":
    run_command(main)
