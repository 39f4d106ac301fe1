"""The rows of ``bench_evaluation.py`` on verification: from a ``.bin`` file to the report, beside the network alone."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.graph.initializer import initial_arrays
from benchmarks.worker import ROOT
from common.progress import progress
from common.workers import available_cpus, map_in_processes
from data.drawn_faces import draw_face
from data.image import encode_jpeg
from data.verification.bin_file import write_bin
from data.verification.verification_set import VerificationSet, load_verification_set
from engine.embedder import Embedder
from engine.verification_report import write_model_report
from engine.verify import Verifier
from evaluation.far_thresholds import FAR_TARGETS
from interchange.converted_snapshot import ConvertedModel, write_converted
from launch.rank import RankReporter
from launch.world import join_world
from ops import flow
from settings.config_file import merge
from settings.tables import sample_tables

IMAGES, BATCH = 12_000, 64  # as many as LFW has
SMALL = 20  # a pair for each fold
NETWORK = "y1"
HEADER = ("verification", "s", "images/s", "of the network", "processor s", "of the network")
NOTES = (
    "images/s: a plain and a mirrored pass count as two; of the network: this speed over that of the network alone",
    "processor s: of all threads, which other load disturbs less",
    "to the report: reads and decodes the .bin, embeds, scores, writes all files but the sheet of bad cases; the graph "
    "is compiled already",
    f"with the command's start: plus the time of insightface_val.py for a set of {SMALL} images, its report included",
)


class VerificationRow(NamedTuple):
    """One way's line: median seconds by the clock and of the processor, each with its ratio to the network alone."""

    label: str
    seconds: float
    speed: float
    ratio: float
    processor: float
    processor_ratio: float

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, in the order of ``HEADER``."""
        by_clock = (f"{self.seconds:.2f}", f"{self.speed:.1f}", f"{self.ratio:.3f}")
        return (self.label, *by_clock, f"{self.processor:.2f}", f"{self.processor_ratio:.3f}")


def run(images: int, rounds: int) -> list[VerificationRow]:
    """Measure the network alone and the whole verification in turn.

    Args:
        images: images of the set, two for a pair, all different.
        rounds: turns of each.
    """
    config = merge(sample_tables(), NETWORK, "orl", "arcface")
    network = build_network(config)
    arrays = initial_arrays(network, 1)
    world = join_world("cpu")
    backbone = Backbone(network, arrays).to_global(world.placement, flow.sbp.broadcast)
    embedder = Embedder(backbone, world, BATCH)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.bin"
        _write_pairs(path, images, config["image_size"])
        faces = load_verification_set(path, "drawn", config["image_size"])
        embedder(faces.images[:BATCH])  # the graph is compiled at the first batch
        ways = {
            "the network alone": lambda: _embed_only(embedder, faces),
            "to the report": lambda: _verify(embedder, path, config["image_size"], Path(folder) / "report"),
        }
        times = _take_turns(ways, rounds)
        model = Path(folder) / "model"
        write_converted(model, ConvertedModel(config, network, arrays, {}, []), {})
        start = _run_command(model, Path(folder), config["image_size"])
    passes = 2 * len(faces.images)
    middle = {label: tuple(map(median, zip(*found, strict=True))) for label, found in times.items()}
    clock, processor = middle["the network alone"]
    middle["with the command's start"] = tuple(map(sum, zip(middle["to the report"], start, strict=True)))
    return [
        VerificationRow(label, seconds, passes / seconds, clock / seconds, worked, processor / worked)
        for label, (seconds, worked) in middle.items()
    ]


def _take_turns(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of each way, by the clock and of the processor; every second round begins with the last."""
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in ways}
    for number in progress(range(rounds), desc="rounds", unit="round"):
        for label, work in list(ways.items())[:: -1 if number % 2 else 1]:
            start, worked = time.perf_counter(), time.process_time()
            work()
            times[label].append((time.perf_counter() - start, time.process_time() - worked))
    return times


def _embed_only(embedder: Embedder, faces: VerificationSet) -> None:
    """Compute both passes of all images in memory."""
    for start in range(0, len(faces.images), BATCH):
        batch = faces.images[start : start + BATCH]
        embedder(batch)
        embedder(np.ascontiguousarray(batch[..., ::-1]))


def _verify(embedder: Embedder, path: Path, size: int, report: Path) -> None:
    """Verify a set from its file to the report."""
    faces = load_verification_set(path, "drawn", size)
    verifier = Verifier([faces], embedder, 10, FAR_TARGETS, RankReporter())
    results = verifier.run()
    write_model_report(report, results, verifier.images_per_second, {}, [faces], [faces.issame], 0)


def _run_command(model: Path, folder: Path, size: int) -> tuple[float, float]:
    """Return the seconds, by the clock and of the processor, of the verification command for a small set."""
    _write_pairs(folder / "small.bin", SMALL, size)
    command = [sys.executable, str(ROOT / "insightface_val.py"), "--model_load_dir", str(model)]
    command += ["--val_targets", "small", "--val_dataset_dir", str(folder), "--report", str(folder / "small")]
    start, worked = time.perf_counter(), _children_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return time.perf_counter() - start, _children_seconds() - worked


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write_pairs(path: Path, images: int, size: int) -> None:
    """Write drawn faces as pairs, every second pair of one person."""
    pairs = images // 2
    people = [person for pair in range(pairs) for person in (2 * pair, 2 * pair + pair % 2)]
    places = [(person, place, size) for place, person in enumerate(people)]
    with map_in_processes(_draw, places, available_cpus(), 64) as drawn:
        bins = list(progress(drawn, total=len(places), desc="drawing", unit="image"))
    write_bin(path, bins, [pair % 2 == 0 for pair in range(pairs)])


def _draw(place: tuple[int, int, int]) -> bytes:
    person, view, size = place
    return encode_jpeg(draw_face(0, person, view, size))
