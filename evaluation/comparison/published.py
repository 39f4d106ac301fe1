"""Accuracies from the tables of the original repository, to put beside one's own."""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "published in the tables of the original InsightFace repository, not measured here"
_SETS = ("lfw", "cfp_ff", "cfp_fp", "agedb_30")
PUBLISHED_SETS = frozenset(_SETS)
_PERCENT = {
    "LResNet100E-IR": (99.77, 99.84, 98.27, 98.25),
    "LResNet50E-IR": (99.80, 99.83, 92.17, 97.70),
    "LResNet34E-IR": (99.67, 99.83, 90.71, 97.63),
    "MobileFaceNet": (99.45, 99.49, 89.77, 95.72),
}
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    model: {name: round(value / 100, 6) for name, value in zip(_SETS, values, strict=True)}
    for model, values in _PERCENT.items()
}
"""Model -> set -> accuracy, 0 to 1."""
