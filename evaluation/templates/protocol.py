"""Evaluate the embeddings of IJB-B or IJB-C in one mode: 1:1 verification and 1:N identification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluation.templates.identification import Identification, identify
from evaluation.templates.meta import (
    MetaFiles,
    TemplateImages,
    TemplatePairs,
    TemplatePeople,
    read_images,
    read_pairs,
    read_people,
)
from evaluation.templates.modes import Mode
from evaluation.templates.pair_scores import score_pairs
from evaluation.templates.pooling import TemplateLayout, pool_templates
from evaluation.templates.roc_points import OperatingPoint, RocCurve, operating_points, roc_points, sort_scores


@dataclass(frozen=True, eq=False)
class TemplateSet:
    """IJB-B or IJB-C, without the images' features.

    Attributes:
        target: IJBB or IJBC.
        images: the images and their templates.
        pairs: the pairs of 1:1; None if it is not wanted.
        galleries: the galleries of 1:N by name; empty if it is not wanted.
        probes: the probes of 1:N.
    """

    target: str
    images: TemplateImages
    pairs: TemplatePairs | None = None
    galleries: Mapping[str, TemplatePeople] | None = None
    probes: TemplatePeople | None = None

    @cached_property
    def layout(self) -> TemplateLayout:
        """Which images make up each template."""
        return TemplateLayout.of(self.images.templates, self.images.medias)


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


def read_set(files: MetaFiles, verification: bool = True, identification: bool = True) -> TemplateSet:
    """Read the files that the wanted protocols need.

    Raises:
        UserError: one is missing or damaged.
    """
    images = read_images(files)
    pairs = read_pairs(files, images) if verification else None
    if not identification:
        return TemplateSet(files.target, images, pairs)
    galleries = {name: read_people(path, images) for name, path in files.galleries.items()}
    return TemplateSet(files.target, images, pairs, galleries, read_people(files.probes, images))


def evaluate_mode(data: TemplateSet, features: np.ndarray, mode: Mode) -> ModeResult:
    """Evaluate.

    Args:
        data: the set.
        features: float [N, E] of its images, as the mode's flip says.
        mode: norms and detector scores.

    Raises:
        UserError: the galleries do not fit the probes, or a feature is too large.
    """
    weights = data.images.detector_scores if mode.detector else None
    templates = pool_templates(data.layout, features, weights, normalize=not mode.keep_norm)
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
