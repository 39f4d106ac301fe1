"""The rows of ``bench_evaluation.py`` on IJB: pooling and pair scores beside InsightFace's loops, and the ROC curve.

The set is drawn with the sizes of IJB-C: 469,375 images in 23,124 templates, 15,658,489 pairs. Both sides take turns,
and their numbers are compared: templates bit for bit, scores to 1e-12, curves exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple, TypeVar

import numpy as np
from sklearn.metrics import roc_curve

from benchmarks.insightface_loops import pool_in_loops, score_in_batches
from engine.template_sums import open_template_sums
from evaluation.templates.pair_scores import score_pairs
from evaluation.templates.pooling import TemplateLayout, pool_templates
from evaluation.templates.roc_points import RocCurve, roc_points, sort_scores

Ours, Other = TypeVar("Ours"), TypeVar("Other")
HEADER = ("templates", "ours s", "other s", "ratio", "CPU ratio")
NOTES = (
    "CPU ratio: of processor time, which other load of the machine disturbs less; ours has all cores, the others one",
    "other: InsightFace's loops over templates, and its batches of 100,000 pairs; roc_curve of scikit-learn",
    "batches: 1,000,000 pairs, extrapolated",
)
_SIZE = 512  # numbers of an embedding
_BATCHED_PAIRS = 1_000_000


class Turn(NamedTuple):
    """Seconds of a call: by the clock, and of processor time on all cores."""

    clock: float
    cpu: float


class TemplateRow(NamedTuple):
    """A comparison: median seconds of both sides, and the median ratios of the rounds by clock and processor time."""

    label: str
    seconds: float
    other_seconds: float
    ratio: float
    cpu_ratio: float

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, in the order of ``HEADER``."""
        numbers = (f"{self.seconds:.3f}", f"{self.other_seconds:.2f}", f"{self.ratio:.1f}", f"{self.cpu_ratio:.1f}")
        return (self.label, *numbers)


@dataclass(frozen=True)
class Sizes:
    """Sizes of a set."""

    images: int
    galleries: int
    probes: int
    pairs: int
    same: int

    @classmethod
    def of(cls, share: float) -> Sizes:
        """Return the sizes of IJB-C times ``share``; the pairs, a part of galleries times probes, by its square."""
        images, galleries, probes, same = (int(share * count) for count in (469_375, 3_531, 19_593, 19_557))
        return cls(images, galleries, probes, int(share**2 * 15_658_489), same)


def run(quick: bool, rounds: int) -> list[TemplateRow]:
    """Measure; ``quick`` with a sixteenth of the images.

    Raises:
        RuntimeError: the numbers of the two sides differ.
    """
    sizes, rng = Sizes.of(1 / 16 if quick else 1), np.random.default_rng(0)
    rows, templates = pool(sizes, rng, rounds)
    scoring, scores = score(sizes, templates, rng, rounds)
    same = np.zeros(len(scores), bool)
    same[rng.choice(len(scores), sizes.same, replace=False)] = True
    return [*rows, scoring, draw_curve(scores + 0.1 * same, same, rounds)]


def pool(sizes: Sizes, rng: np.random.Generator, rounds: int) -> tuple[list[TemplateRow], np.ndarray]:
    """Return the rows of the pooling, of images by template and in mixed order, and the templates."""
    templates, medias, features = draw_images(sizes, rng)
    mixed, sum_up = rng.permutation(sizes.images), open_template_sums()
    rows, pooled = [], np.empty(0)
    for order, what in ((slice(None), "by template"), (mixed, "in mixed order")):
        numbers = templates[order], medias[order]
        times, pooled, expected = take_turns(
            lambda numbers=numbers: pool_templates(TemplateLayout.of(*numbers), features, sum_up=sum_up),
            lambda numbers=numbers: pool_in_loops(features, *numbers),
            rounds,
        )
        require_equal(np.array_equal(pooled, expected), "templates")
        label = f"pool {sizes.images:,} images, {what}, into {len(pooled):,} templates"
        rows.append(TemplateRow(label, *compare(times)))
    return rows, pooled


def score(sizes: Sizes, templates: np.ndarray, rng: np.random.Generator, rounds: int) -> tuple[TemplateRow, np.ndarray]:
    """Return the row of the pair scores, and the scores."""
    first, second = draw_pairs(sizes, rng)
    part = slice(min(sizes.pairs, _BATCHED_PAIRS))
    times, scores, expected = take_turns(
        lambda: score_pairs(templates, first, second),
        lambda: score_in_batches(templates, first[part], second[part]),
        rounds,
    )
    require_equal(np.allclose(scores[part], expected, rtol=0, atol=1e-12), "scores")
    return TemplateRow(f"score {sizes.pairs:,} pairs", *compare(times, sizes.pairs / part.stop)), scores


def draw_curve(scores: np.ndarray, same: np.ndarray, rounds: int) -> TemplateRow:
    """Return the row of the ROC curve."""
    times, curve, other = take_turns(
        lambda: roc_points(sort_scores(scores, same)), lambda: roc_curve(same, scores), rounds
    )
    require_equal(equal_curves(curve, other), "curves")
    return TemplateRow(f"ROC curve of {len(scores):,} scores", *compare(times))


def draw_images(sizes: Sizes, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return templates and medias [N], sorted by template, and features [N, E]; half are photos, half frames."""
    count = sizes.galleries + sizes.probes
    templates = np.sort(np.r_[np.arange(count), rng.integers(0, count, sizes.images - count)])
    photos = rng.random(sizes.images) < 0.5
    medias = np.where(photos, 1_000_000 + np.arange(sizes.images), templates * 2 + rng.integers(0, 2, sizes.images))
    return templates, medias, rng.standard_normal((sizes.images, _SIZE), dtype=np.float32)


def draw_pairs(sizes: Sizes, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of templates, sorted by the first: galleries with probes, as in the distributed file."""
    places = rng.random(sizes.galleries * sizes.probes, dtype=np.float32)
    places = np.sort(np.argpartition(places, sizes.pairs)[: sizes.pairs])
    first, second = np.divmod(places, sizes.probes)
    return first.astype(np.int32), (sizes.galleries + second).astype(np.int32)


def take_turns(
    ours: Callable[[], Ours], other: Callable[[], Other], rounds: int
) -> tuple[list[tuple[Turn, Turn]], Ours, Other]:
    """Return the turns of both sides in each round, after one of ours that does not count, and their results."""
    ours()  # takes memory and starts threads
    turns = []
    for _ in range(rounds):
        our_turn, our_result = measure(ours)
        other_turn, other_result = measure(other)
        turns.append((our_turn, other_turn))
    return turns, our_result, other_result


def measure(function: Callable[[], Ours]) -> tuple[Turn, Ours]:
    """Return the turn and the result of a call."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = function()
    return Turn(time.perf_counter() - clock, time.process_time() - cpu), result


def compare(turns: list[tuple[Turn, Turn]], factor: float = 1.0) -> tuple[float, float, float, float]:
    """Return a row's numbers; the other side's times count ``factor`` times."""
    return (
        median(ours.clock for ours, _ in turns),
        factor * median(other.clock for _, other in turns),
        factor * median(other.clock / ours.clock for ours, other in turns),
        factor * median(other.cpu / ours.cpu for ours, other in turns),
    )


def equal_curves(curve: RocCurve, other: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bool:
    """Tell whether all points are equal."""
    return all(map(np.array_equal, (curve.fpr, curve.tpr, curve.thresholds), other))


def require_equal(equal: bool, what: str) -> None:
    """Check that both sides computed the same.

    Raises:
        RuntimeError: they did not.
    """
    if not equal:
        raise RuntimeError(f"the {what} differ from those of the other side")
