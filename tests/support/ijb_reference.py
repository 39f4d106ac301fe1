"""A small set in the layout of IJB-C, and its numbers in plain float64 loops, written from the protocol's description.

Nothing here uses the project's evaluation. ``roc_curve`` of scikit-learn gives the points, as in InsightFace's scripts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.metrics import auc, roc_curve

RATES = [10**-power for power in range(6, 0, -1)]


@dataclass
class SmallSet:
    """Rows of the meta files."""

    faces: list[tuple[str, int, int]] = field(default_factory=list)  # name, template, media
    detector: list[float] = field(default_factory=list)
    pairs: list[tuple[int, int, int]] = field(default_factory=list)
    galleries: dict[str, list[tuple[int, int]]] = field(default_factory=dict)  # template, subject
    probes: list[tuple[int, int]] = field(default_factory=list)
    subjects: list[int] = field(default_factory=list)  # of each face

    def write(self, folder: Path, target: str = "ijbc") -> Path:
        """Write the meta files below ``folder``."""
        meta = folder / "meta"
        meta.mkdir(parents=True)
        prefix = f"{target}_"
        rows = [f"{name} {template} {media}\n" for name, template, media in self.faces]
        (meta / f"{prefix}face_tid_mid.txt").write_text("".join(rows))
        points = "38.295 51.696 73.532 51.501 56.025 71.737 41.549 92.366 70.730 92.204"
        rows = [f"{face[0]} {points} {score:.3f}\n" for face, score in zip(self.faces, self.detector, strict=True)]
        (meta / f"{prefix}name_5pts_score.txt").write_text("".join(rows))
        rows = [f"{first} {second} {label}\n" for first, second, label in self.pairs]
        (meta / f"{prefix}template_pair_label.txt").write_text("".join(rows))
        for name, people in self.galleries.items():
            lines = ["TEMPLATE_ID,SUBJECT_ID,FILENAME\n", *(f"{t},{s},img/{t}.jpg\n" for t, s in people)]
            (meta / f"{prefix}1N_gallery_{name}.csv").write_text("".join(lines))
        lines = ["TEMPLATE_ID,SUBJECT_ID,FILENAME\n", *(f"{t},{s},frames/{t}.jpg\n" for t, s in self.probes)]
        (meta / f"{prefix}1N_probe_mixed.csv").write_text("".join(lines))
        return folder


def make_set(seed: int = 0, people: int = 24, names: tuple[str, str] = ("G1", "G2")) -> SmallSet:
    """A gallery template and some probes of each person, of photos and of videos, in mixed order."""
    rng = np.random.default_rng(seed)
    small = SmallSet(galleries={name: [] for name in names})
    template, faces = 3, []
    gallery, probes = [], []
    for subject in range(100, 100 + people):
        for place in range(1 + int(rng.integers(1, 5))):
            template += int(rng.integers(1, 4))
            owner = (template, subject)
            if place:
                probes.append(owner)
                small.probes += [owner] * int(rng.integers(1, 3))  # a row for each file of the template
            else:
                gallery.append(owner)
                small.galleries[names[subject % 2]].append(owner)
            for _ in range(int(rng.integers(1, 4))):
                media = int(rng.integers(1, 10**6))
                faces += [(template, media, subject)] * int(rng.choice([1, 1, 1, 2, 7]))
    for number, place in enumerate(rng.permutation(len(faces)), 1):
        template, media, subject = faces[place]
        small.faces.append((f"{number}.jpg", template, media))
        small.subjects.append(subject)
    small.detector = np.round(rng.uniform(0.3, 1, len(faces)), 3).tolist()
    small.detector[5] = 0.0
    small.pairs = [
        (first, second, int(owner == other))
        for first, owner in gallery
        for second, other in probes
        if owner == other or rng.random() < 0.7
    ]
    return small


def draw_features(small: SmallSet, size: int = 16, noise: float = 1.6, seed: int = 1) -> np.ndarray:
    """float32 [N, size] around a centre for each person, of different lengths."""
    rng = np.random.default_rng(seed)
    centres = {subject: rng.standard_normal(size) for subject in sorted(set(small.subjects))}
    rows = np.array([centres[subject] for subject in small.subjects])
    rows = (rows + noise * rng.standard_normal(rows.shape)) * rng.uniform(1, 30, (len(rows), 1))
    return rows.astype(np.float32)


def template_features(small: SmallSet, features: np.ndarray, keep_norm: bool, detector: bool) -> dict[int, np.ndarray]:
    """The feature of each template, float64, of length 1."""
    features = features.astype(np.float64)
    sums: dict[int, dict[int, list[np.ndarray]]] = {}
    for (_, template, media), score, row in zip(small.faces, small.detector, features, strict=True):
        value = row if keep_norm else row / math.sqrt(sum(x * x for x in row)) if row.any() else row
        value = value * float(np.float32(score)) if detector else value
        sums.setdefault(template, {}).setdefault(media, []).append(value)
    result = {}
    for template, medias in sums.items():
        total = sum(sum(rows) / len(rows) for rows in medias.values())
        length = math.sqrt(sum(x * x for x in total))
        result[template] = total / length if length else total
    return result


def verification(pairs: list[tuple[int, int, int]], templates: dict[int, np.ndarray]) -> tuple[list[float], float]:
    """TPR at the six rates by the nearest point, the last one of ``roc_curve`` first, and the area under the curve."""
    scores = np.array([float(np.dot(templates[first], templates[second])) for first, second, _ in pairs])
    fpr, tpr, _ = roc_curve([label for *_, label in pairs], scores)
    found = []
    for rate in RATES:
        best = len(fpr) - 1
        for place in range(len(fpr) - 1, -1, -1):
            if abs(fpr[place] - rate) < abs(fpr[best] - rate):
                best = place
        found.append(float(tpr[best]))
    return found, float(auc(fpr, tpr))


def _unique(people: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted(set(people))


def closed_set(small: SmallSet, templates: dict[int, np.ndarray]) -> tuple[list[float], list[tuple[float, float]]]:
    """Rank 1, 5 and 10, and (TPIR, threshold) at 0.01 and 0.1, in the joined galleries."""
    gallery = _unique([row for people in small.galleries.values() for row in people])
    probes = _unique(small.probes)
    hits, own, wrong = [0, 0, 0], [], []
    for template, subject in probes:
        scores = [(float(np.dot(templates[template], templates[t])), s == subject) for t, s in gallery]
        order = sorted(range(len(scores)), key=lambda place: (-scores[place][0], place))
        rank = next(number for number, place in enumerate(order) if scores[place][1])
        hits = [count + (rank < limit) for count, limit in zip(hits, (1, 5, 10), strict=True)]
        own.append(next(score for score, is_own in scores if is_own))
        wrong += [score for score, is_own in scores if not is_own]
    wrong.sort(reverse=True)
    thresholds = [wrong[math.ceil(len(probes) * rate) - 1] for rate in (0.01, 0.1)]
    points = [(sum(score > threshold for score in own) / len(own), threshold) for threshold in thresholds]
    return [count / len(probes) for count in hits], points


def open_set(
    people: list[tuple[int, int]], probes: list[tuple[int, int]], templates: dict[int, np.ndarray], rates: list[float]
) -> tuple[list[int], list[tuple[float, float]]]:
    """Hits at ranks 1, 5 and 10, and (TPIR, threshold) at the rates, in one gallery."""
    gallery, probes = _unique(people), _unique(probes)
    subjects = {subject for _, subject in gallery}
    hits, known, unknown = [0, 0, 0], [], []
    for template, subject in probes:
        scores = [float(np.dot(templates[template], templates[t])) for t, _ in gallery]
        if subject not in subjects:
            unknown.append(max(scores))
            continue
        right = next(place for place, (_, s) in enumerate(gallery) if s == subject)
        order = sorted(range(len(scores)), key=lambda place: (-scores[place], -place))
        hits = [count + (order.index(right) < limit) for count, limit in zip(hits, (1, 5, 10), strict=True)]
        known.append((scores[right], max(score for place, score in enumerate(scores) if place != right)))
    unknown.sort(reverse=True)
    points = []
    for rate in rates:
        threshold = unknown[max(int(len(unknown) * rate) - 1, 0)]
        points.append((sum(own > other and own > threshold for own, other in known) / len(known), threshold))
    return hits, points
