"""Measure the conversion of a ``.rec`` to OFRecord parts: ``python benchmarks/bench_convert.py``.

The conversion includes the flush to the disk; files are read from the page cache. Without decoding it is compared with
``cp`` of the same bytes, with and without a flush; with decoding, with the bare decoder (simplejpeg in a loop on JPEGs
in memory) in as many processes as there are cores. All take turns, and every ratio is between turns of one round.
"Record by record" reads each with MXNet and writes each as a message of protobuf.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from benchmarks.arguments import Parser, positive_int
from benchmarks.other_load import OtherLoad, describe_load
from benchmarks.report import format_table, run_bench
from benchmarks.sample_images import CLASSES, SIZE, make_images
from common.errors import run_command
from common.progress import progress
from common.workers import available_cpus
from data.conversion.convert import convert_recordio
from data.ofrecord.records import LENGTH, ofrecord_class, write_record
from data.recordio.dataset import open_recordio
from data.recordio.options import RecordIOOptions
from data.recordio.property import Property, write_property
from data.recordio.records import ImageHeader, RecordWriter, pack_record, unpack_record, write_index

_TOOL = Path(__file__).resolve().parents[1] / "tools/dataset_convert/mx_recordio_2_ofrecord.py"
_DIFFERENT = 1000  # images drawn; a larger set repeats them
HEADER = ("", "images/s", "seconds", "CPU seconds", "speed / cp", "speed / cp, flushed", "speed / decoder")
COPY, FLUSHED, DECODER = "cp", "cp, flushed", "bare decoder"


@dataclass(frozen=True)
class Job:
    """The set, and where the results go; the latter does not exist when a contestant starts."""

    records: Path
    output: Path
    workers: int


def write_set(folder: Path, num_images: int) -> None:
    """Write ``train.rec``, ``train.idx`` and ``property``."""
    images = list(make_images(min(num_images, _DIFFERENT)))
    write_property(folder, Property(min(CLASSES, len(images)), SIZE, SIZE))
    with open(folder / "train.rec", "wb") as handle, open(folder / "train.idx", "wb") as index:
        writer, offsets = RecordWriter(handle), []
        for key in progress(range(num_images), desc="writing", unit="img"):
            encoded, label = images[key % len(images)]
            offsets.append(writer.write(pack_record(ImageHeader((float(label),), key), encoded)))
        write_index(index, range(num_images), offsets)


def copy(job: Job) -> None:
    """Copy the file."""
    subprocess.run(["cp", job.records, job.output], check=True)


def copy_and_flush(job: Job) -> None:
    """Copy the file, and flush the copy to the disk as the conversion flushes its parts."""
    copy(job)
    subprocess.run(["sync", job.output], check=True)


def convert(job: Job, parts: int = 0, workers: int = 0, decode: bool = False) -> None:
    """Convert to one part in the order of the file, or to ``parts`` shuffled ones, with all workers or ``workers``."""
    options = RecordIOOptions(decode=decode, num_workers=workers or job.workers)
    convert_recordio(job.records, job.output, parts or 1, 0 if parts else None, options)


def run_converter(job: Job) -> None:
    """Run the command that converts to one part, its start included."""
    command = [sys.executable, str(_TOOL), "--rec", str(job.records), "--output_filepath", str(job.output)]
    subprocess.run([*command, "--no_decode", "1"], check=True, stdout=subprocess.DEVNULL)


def convert_by_messages(job: Job) -> None:
    """Read each record with MXNet and write each as a message, into one part."""
    import mxnet

    reader = mxnet.recordio.MXRecordIO(str(job.records), "r")
    with open(job.output, "wb") as handle:
        while payload := reader.read():
            header, encoded = unpack_record(payload)
            record = ofrecord_class()()
            record.feature["encoded"].bytes_list.value.append(encoded)
            record.feature["label"].int32_list.value.append(int(header.labels[0]))
            write_record(handle, record.SerializeToString(deterministic=True))
        handle.flush()
        os.fsync(handle.fileno())


def decode_alone(job: Job) -> None:
    """Decode as many JPEGs in memory, in one process for each worker."""
    images, pool = open_recordio(job.records), get_context("fork")
    number = min(_DIFFERENT, len(images))
    encoded = [image for image, _ in images.read(range(number))]
    shares = np.array_split(np.arange(len(images)), job.workers)
    processes = [pool.Process(target=_decode, args=(encoded, share)) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError("a decoder failed")


def _decode(encoded: Sequence[bytes], rows: np.ndarray) -> None:
    place = np.empty((SIZE, SIZE, 3), np.uint8)
    for row in rows.tolist():
        simplejpeg.decode_jpeg(encoded[row % len(encoded)], buffer=place)


COPYING: dict[str, Callable[[Job], None]] = {
    COPY: copy,
    FLUSHED: copy_and_flush,
    "one part": convert,
    "one part, command": run_converter,
    "96 shuffled parts": partial(convert, parts=96),
    "96 shuffled parts, 1 worker": partial(convert, parts=96, workers=1),
    "record by record": convert_by_messages,
}
DECODING: dict[str, Callable[[Job], None]] = {
    DECODER: decode_alone,
    "one part, decoded": partial(convert, decode=True),
    "96 shuffled parts, decoded": partial(convert, parts=96, decode=True),
    "96 shuffled parts, decoded, 1 worker": partial(convert, parts=96, workers=1, decode=True),
}


def check_output(job: Job, num_images: int) -> None:
    """Check that a conversion is complete.

    Raises:
        RuntimeError: it is not.
    """
    if job.output.is_dir():
        written = sum(part.stat().st_size for part in job.output.glob("part-*"))
        info = json.loads((job.output / "dataset.json").read_text())
        images = open_recordio(job.records)
        if info["num_images"] != num_images or written < images.lengths.sum() + num_images * LENGTH.size:
            raise RuntimeError(f"{job.output} is not complete: {info}, {written} bytes")


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(folder: Path, num_images: int, rounds: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the wall and processor seconds of each turn, [rounds, 2] for each contestant."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    turns = [(number, name) for number in range(rounds) for name in names]
    for number, name in progress(turns, desc="measuring", unit="turn"):
        job = Job(folder / "train.rec", folder / f"output-{number}", available_cpus())
        start, cpu = time.perf_counter(), cpu_seconds()
        {**COPYING, **DECODING}[name](job)
        times[name].append((time.perf_counter() - start, cpu_seconds() - cpu))
        check_output(job, num_images)
        if job.output.is_dir():
            shutil.rmtree(job.output)
        job.output.unlink(missing_ok=True)
    return {name: np.array(turns) for name, turns in times.items()}


def make_rows(times: dict[str, np.ndarray], num_images: int) -> list[tuple[str, ...]]:
    """Return the rows of the table; a conversion that decodes is compared with the decoder, others with the copies."""
    rows = []
    for name, turns in times.items():
        wall, cpu = np.median(turns, axis=0)
        decodes = name in DECODING
        ratios = [
            f"{np.median(times[other][:, 0] / turns[:, 0]):.2f}" if other in times and is_peer else ""
            for other, is_peer in ((COPY, not decodes), (FLUSHED, not decodes), (DECODER, decodes))
        ]
        rows.append((name, f"{num_images / wall:.0f}", f"{wall:.2f}", f"{cpu:.2f}", *ratios))
    return rows


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table, and return its contents."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=args.folder or None) as name:
        write_set(Path(name), args.images)
        size = (Path(name) / "train.rec").stat().st_size
        load = OtherLoad()
        times = measure(Path(name), args.images, args.rounds, [*COPYING, *(DECODING if args.decode else ())])
        share = load.share()
    print(f"{args.images} images, {size / 1e6:.0f} MB, {args.rounds} rounds")
    print(format_table(HEADER, make_rows(times, args.images)))
    if line := describe_load(share):
        print(line)
    return {"turns": {label: turns.tolist() for label, turns in times.items()}, "bytes": size, "other_load": share}


def main() -> None:
    """Measure and print the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive_int, default=20_000, help="images of the set")
    parser.add_argument("--rounds", type=positive_int, default=5, help="turns of each")
    parser.add_argument("--decode", type=int, choices=(0, 1), default=1, help="0: omit what decodes")
    parser.add_argument("--folder", default="", help="where the files are written (default: the system's for such)")
    parser.add_argument("--json", default="", help="file for all numbers")
    args = parser.parse_args()
    run_bench(bench, args)


if __name__ == "__main__":
    run_command(main)
