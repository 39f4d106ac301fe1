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
SHARE = 10  # the slow ones search in one row of so many, once
HEADER = ("search", "s", "of ours", "GFLOP/s", "memory")
NOTES = (
    "of ours: its time over ours; memory: peak of the process over that of gallery and probes",
    f"numpy: measured once in 1/{SHARE} of the gallery, argsort once with {SOME_PROBES} probes; both extrapolated",
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
    """Return ours first, a bare product and faiss, which take turns."""
    peer = Contestant("faiss", "faiss_worker", "float32", PEERS_PYTHON)
    return [_in_our_environment("ours"), _in_our_environment("onednn"), peer]


def slow_contestants(gallery: int) -> list[Contestant]:
    """Return the others, each with the part of the search that it is measured with."""
    some_rows = {"some_rows": max(K, gallery // SHARE)}
    parts = {"product": some_rows, "numpy": some_rows, "argsort": {"some_probes": SOME_PROBES}}
    return [_in_our_environment(kind, **part) for kind, part in parts.items()]


def _in_our_environment(kind: str, **options: int) -> Contestant:
    return Contestant(kind, "search_worker", "float32", options={"kind": kind, **options})


def write_data(folder: Path, probes: int, gallery: int, width: int = WIDTH) -> np.ndarray:
    """Write unit rows ``probes.npy`` and ``gallery.npy`` and the planted answer of each probe, ``answers.npy``.

    Returns the answers, int64 [P].

    A probe and its answer have a cosine of about 0.7; other pairs are random directions.
    """
    rng = np.random.default_rng(0)
    answers = rng.choice(gallery, probes, replace=False)
    searched = _unit(rng.standard_normal((probes, width), dtype=np.float32))
    np.save(folder / "probes.npy", searched)
    np.save(folder / "answers.npy", answers)
    rows = np.lib.format.open_memmap(folder / "gallery.npy", "w+", np.float32, (gallery, width))
    for start in progress(range(0, gallery, _ROWS), desc="drawing", unit="block"):
        rows[start : start + _ROWS] = _unit(rng.standard_normal((min(_ROWS, gallery - start), width), np.float32))
    rows[answers] = _unit(rows[answers] + searched)
    rows.flush()
    return answers


def run(
    quick: bool, rounds: int, threads: int, probes: int = PROBES, gallery: int = GALLERY, width: int = WIDTH
) -> list[SearchRow]:
    """Measure ours and the fast ones in turn, then the slow ones once; ``quick`` with a tenth of the gallery.

    Raises:
        RuntimeError: ours did not run, or a contestant's matches differ from ours or the planted answers.
    """
    gallery = gallery // 10 if quick else gallery
    with tempfile.TemporaryDirectory(prefix="benchmark-search-") as name:
        answers = write_data(Path(name), probes, gallery, width)
        paths = {kind: f"{name}/{kind}.npy" for kind in ("probes", "gallery", "answers")}
        job = {"pass": "forward", "threads": threads, "k": K, **paths}
        measured = run_rounds(contestants(), job, rounds, seconds=0.001)
        measured += run_rounds(slow_contestants(gallery), job, 1, seconds=0.001)
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
            if not np.array_equal(found, answers[: len(found)]) or not np.allclose(sums, ours[1], rtol=1e-5):
                raise RuntimeError(f"{entry.label}: its matches differ")


def make_rows(measured: Sequence[Measured], probes: int, gallery: int, width: int) -> list[SearchRow]:
    """Return a row for each contestant."""
    size = 4 * (probes + gallery) * width
    rows = []
    for entry in measured:
        if entry.failure:
            rows.append(SearchRow(entry.contestant.name, failure=entry.failure))
            continue
        options, ours = entry.contestant.options, np.array(measured[0].times)
        parts = probes / options.get("some_probes", probes) * gallery / options.get("some_rows", gallery)
        times = np.array(entry.times) * parts
        ratio = median(times / (ours if len(times) == len(ours) else median(ours)))
        seconds = median(times)
        gflops = 2e-9 * probes * gallery * width / seconds
        rows.append(SearchRow(entry.label, seconds, ratio, gflops, entry.peak_bytes / size))
    return rows


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
