"""The rows of ``bench_evaluation.py`` on IJB: pooling and pair scores against InsightFace's loops, and the ROC curve.

The set is drawn with the sizes of IJB-C: 469,375 images in 23,124 templates, 15,658,489 pairs. The features of both
sides are compared: templates bit for bit, scores to 1e-12, curves exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from sklearn.metrics import roc_curve

from benchmarks.insightface_loops import pool_in_loops, score_in_batches
from evaluation.templates.pair_scores import score_pairs
from evaluation.templates.pooling import TemplateLayout, pool_templates
from evaluation.templates.roc_points import RocCurve, roc_points, sort_scores

Result = TypeVar("Result")
_SIZE = 512  # numbers of an embedding


class TemplateRow(NamedTuple):
    """A comparison.

    Attributes:
        label: what was done.
        seconds: of ours, the fastest of the rounds.
        other: name of the other side.
        other_seconds: its time.
        note: how it was measured, if not as a whole.
    """

    label: str
    seconds: float
    other: str
    other_seconds: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.other_seconds / self.seconds


@dataclass(frozen=True)
class Sizes:
    """Sizes of a set, those of IJB-C times ``share``."""

    images: int
    galleries: int
    probes: int
    pairs: int
    same: int
    scored_by_loops: int

    @classmethod
    def of(cls, share: float) -> Sizes:
        """Return the sizes; the pairs, which are a part of galleries times probes, shrink by the square."""
        counts = (int(share * count) for count in (469_375, 3_531, 19_593))
        pairs, same = int(share**2 * 15_658_489), int(share * 19_557)
        return cls(*counts, pairs, same, min(pairs, 1_000_000))


def run(quick: bool, rounds: int = 3) -> list[TemplateRow]:
    """Measure; ``quick`` with a sixteenth of the images.

    Raises:
        RuntimeError: the numbers of the two sides differ.
    """
    sizes, rng = Sizes.of(1 / 16 if quick else 1), np.random.default_rng(0)
    pooling, templates = pool(sizes, rng, rounds)
    scoring, scores = score(sizes, templates, rng, rounds)
    same = np.zeros(len(scores), bool)
    same[rng.choice(len(scores), sizes.same, replace=False)] = True
    return [pooling, scoring, draw_curve(scores + 0.1 * same, same, rounds)]


def pool(sizes: Sizes, rng: np.random.Generator, rounds: int) -> tuple[TemplateRow, np.ndarray]:
    """Return the row of the pooling, and the templates."""
    templates, medias, features = draw_images(sizes, rng)
    pooled, seconds = fastest(lambda: pool_templates(TemplateLayout.of(templates, medias), features), rounds)
    expected, loop_seconds = fastest(lambda: pool_in_loops(features, templates, medias), 1)
    require_equal(np.array_equal(pooled, expected), "templates")
    label = f"pool {sizes.images:,} images into {len(pooled):,} templates"
    return TemplateRow(label, seconds, "loops", loop_seconds), pooled


def score(sizes: Sizes, templates: np.ndarray, rng: np.random.Generator, rounds: int) -> tuple[TemplateRow, np.ndarray]:
    """Return the row of the pair scores, and the scores."""
    first, second = draw_pairs(sizes, rng)
    scores, seconds = fastest(lambda: score_pairs(templates, first, second), rounds)
    part = slice(sizes.scored_by_loops)
    expected, loop_seconds = fastest(lambda: score_in_batches(templates, first[part], second[part]), rounds)
    require_equal(np.allclose(scores[part], expected, rtol=0, atol=1e-12), "scores")
    factor = sizes.pairs / sizes.scored_by_loops
    note = f"batches: {sizes.scored_by_loops:,} pairs, times {factor:.1f}" if factor > 1 else ""
    return TemplateRow(f"score {sizes.pairs:,} pairs", seconds, "batches", factor * loop_seconds, note), scores


def draw_curve(scores: np.ndarray, same: np.ndarray, rounds: int) -> TemplateRow:
    """Return the row of the ROC curve."""
    curve, seconds = fastest(lambda: roc_points(sort_scores(scores, same)), rounds)
    other, sklearn_seconds = fastest(lambda: roc_curve(same, scores), 1)
    require_equal(equal_curves(curve, other), "curves")
    return TemplateRow(f"ROC curve of {len(scores):,} scores", seconds, "scikit-learn", sklearn_seconds)


def draw_images(sizes: Sizes, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return templates and medias [N], and features [N, E]: half of the images are photos, half frames of videos."""
    count = sizes.galleries + sizes.probes
    templates = np.r_[np.arange(count), rng.integers(0, count, sizes.images - count)]
    rng.shuffle(templates)
    photos = rng.random(sizes.images) < 0.5
    medias = np.where(photos, 1_000_000 + np.arange(sizes.images), templates * 2 + rng.integers(0, 2, sizes.images))
    return templates, medias, rng.standard_normal((sizes.images, _SIZE), dtype=np.float32)


def draw_pairs(sizes: Sizes, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of templates, sorted by the first: galleries with probes, as in the distributed file."""
    places = rng.random(sizes.galleries * sizes.probes, dtype=np.float32)
    places = np.sort(np.argpartition(places, sizes.pairs)[: sizes.pairs])
    first, second = np.divmod(places, sizes.probes)
    return first.astype(np.int32), (sizes.galleries + second).astype(np.int32)


def fastest(function: Callable[[], Result], rounds: int) -> tuple[Result, float]:
    """Return the result and the seconds of the fastest call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return result, min(times)


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
