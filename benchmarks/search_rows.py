"""The rows of ``bench_evaluation.py`` on searches: probes in a gallery, as MegaFace has them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.contestants import PEERS_PYTHON, Contestant
from benchmarks.rounds import Measured, run_rounds
from common.progress import progress

PROBES, GALLERY, WIDTH, K = 3530, 1_000_000, 512, 10
SOME_PROBES = 64  # of InsightFace's way, whose time is extrapolated
HEADER = ("search", "s", "of ours", "GFLOP/s", "memory")
NOTES = (
    "of ours: its time over ours; memory: peak of the process over that of gallery and probes",
    f"argsort: measured with {SOME_PROBES} probes and extrapolated",
)
_ROWS = 65_536


class SearchRow(NamedTuple):
    """A contestant's line: median seconds of a search, its ratio to ours, and peak memory over that of the data.

    ``failure`` says why it could not run; it is empty if it ran.
    """

    label: str
    seconds: float = 0.0
    ratio: float = 0.0
    gflops: float = 0.0
    memory: float = 0.0
    failure: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, in the order of ``HEADER``."""
        if self.failure:
            return (self.label, "-", "-", "-", "-")
        return (self.label, f"{self.seconds:.2f}", f"{self.ratio:.2f}", f"{self.gflops:.0f}", f"{self.memory:.2f}")


def contestants() -> list[Contestant]:
    """Return ours first, the peers, and the bare products."""
    ours = [
        Contestant(kind, "search_worker", "float32", options={"kind": kind, **options})
        for kind, options in (
            *(("ours", {}), ("onednn", {}), ("product", {}), ("numpy", {})),
            ("argsort", {"some_probes": SOME_PROBES}),
        )
    ]
    return [*ours, Contestant("faiss", "faiss_worker", "float32", PEERS_PYTHON)]


def write_data(folder: Path, probes: int, gallery: int, width: int = WIDTH) -> np.ndarray:
    """Write unit rows ``probes.npy`` and ``gallery.npy``, and return the planted answer of each probe, int64 [P].

    A probe and its answer have a cosine of about 0.7; other pairs are random directions.
    """
    rng = np.random.default_rng(0)
    answers = rng.choice(gallery, probes, replace=False)
    searched = _unit(rng.standard_normal((probes, width), dtype=np.float32))
    np.save(folder / "probes.npy", searched)
    rows = np.lib.format.open_memmap(folder / "gallery.npy", "w+", np.float32, (gallery, width))
    for start in progress(range(0, gallery, _ROWS), desc="drawing", unit="block"):
        rows[start : start + _ROWS] = _unit(rng.standard_normal((min(_ROWS, gallery - start), width), np.float32))
    rows[answers] = _unit(rows[answers] + searched)
    rows.flush()
    return answers


def run(
    quick: bool, rounds: int, threads: int, probes: int = PROBES, gallery: int = GALLERY, width: int = WIDTH
) -> list[SearchRow]:
    """Measure all contestants in turn; ``quick`` with a tenth of the gallery.

    Raises:
        RuntimeError: ours did not run, or a contestant's matches differ from the planted answers.
    """
    gallery = gallery // 10 if quick else gallery
    with tempfile.TemporaryDirectory(prefix="benchmark-search-") as name:
        answers = write_data(Path(name), probes, gallery, width)
        paths = {kind: f"{name}/{kind}.npy" for kind in ("probes", "gallery")}
        job = {"pass": "forward", "threads": threads, "k": K, **paths}
        measured = run_rounds(contestants(), job, rounds, seconds=0.001)
    check(measured, answers)
    return make_rows(measured, probes, gallery, width)


def check(measured: Sequence[Measured], answers: np.ndarray) -> None:
    """Compare the matches of all contestants with the planted answers, and the sums of scores with each other.

    Raises:
        RuntimeError: they differ, or ours did not run.
    """
    if measured[0].failure:
        raise RuntimeError(f"ours: {measured[0].failure}")
    ours = np.array(measured[0].results).reshape(2, -1)
    for entry in measured:
        if entry.results:
            found, sums = np.array(entry.results).reshape(2, -1)
            some = len(found)
            if not np.array_equal(found, answers[:some]) or not np.allclose(sums, ours[1, :some], rtol=1e-5):
                raise RuntimeError(f"{entry.label}: its matches differ")


def make_rows(measured: Sequence[Measured], probes: int, gallery: int, width: int) -> list[SearchRow]:
    """Return a row for each contestant."""
    size = 4 * (probes + gallery) * width
    rows = []
    for entry in measured:
        if entry.failure:
            rows.append(SearchRow(entry.contestant.name, failure=entry.failure))
            continue
        times = np.array(entry.times) * probes / entry.contestant.options.get("some_probes", probes)
        ratio = median(times / np.array(measured[0].times)[: len(times)])
        seconds = median(times)
        gflops = 2e-9 * probes * gallery * width / seconds
        rows.append(SearchRow(entry.label, seconds, ratio, gflops, entry.peak_bytes / size))
    return rows


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
