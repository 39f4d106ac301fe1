"""Evaluate the embeddings of IJB-B or IJB-C in one mode: 1:1 verification and 1:N identification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.templates.identification import Identification, identify
from evaluation.templates.modes import Mode
from evaluation.templates.pair_scores import score_pairs
from evaluation.templates.pooling import TemplateSums, pool_templates, sum_in_blocks
from evaluation.templates.roc_points import OperatingPoint, RocCurve, operating_points, roc_points, sort_scores
from evaluation.templates.sets import TemplateSet


@dataclass(frozen=True, eq=False)
class Verification:
    """The result of 1:1.

    Attributes:
        curve: the ROC curve.
        points: the numbers at the wanted FPRs.
    """

    curve: RocCurve
    points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, eq=False)
class ModeResult:
    """The results of one mode; None what was not wanted."""

    mode: Mode
    verification: Verification | None
    identification: Identification | None


def evaluate_mode(
    data: TemplateSet, features: np.ndarray, mode: Mode, sum_up: TemplateSums = sum_in_blocks
) -> ModeResult:
    """Evaluate.

    Args:
        data: the set.
        features: float [N, E] of its images, as the mode's flip says.
        mode: norms and detector scores.
        sum_up: adds the rows of templates up.

    Raises:
        UserError: the galleries do not fit the probes, or a feature is too large.
    """
    weights = data.images.detector_scores if mode.detector else None
    templates = pool_templates(data.layout, features, weights, normalize=not mode.keep_norm, sum_up=sum_up)
    verification = identification = None
    if data.pairs is not None:
        rows = data.layout.rows(data.pairs.first), data.layout.rows(data.pairs.second)
        scores = sort_scores(score_pairs(templates, *rows), data.pairs.same)
        curve = roc_points(scores)
        verification = Verification(curve, tuple(operating_points(curve, scores)))
    if data.galleries and data.probes is not None:
        people = {**data.galleries, "probes": data.probes}
        chosen = {name: templates[data.layout.rows(each.templates)] for name, each in people.items()}
        identification = identify(chosen, data.galleries, data.probes)
    return ModeResult(mode, verification, identification)
