"""A set of templates: images, pairs of templates, and the people of galleries and probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from evaluation.templates.pooling import TemplateLayout


@dataclass(frozen=True, eq=False)
class TemplateImages:
    """N images with their templates.

    Attributes:
        names: of the images.
        templates: int64 [N], the template of each image; an image of two templates occurs twice.
        medias: int64 [N], the photo or video that it is from.
        detector_scores: float32 [N], 0 to 1.
    """

    names: Sequence[str]
    templates: np.ndarray
    medias: np.ndarray
    detector_scores: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class TemplatePairs:
    """P pairs of templates, of which some show one person and some two.

    Attributes:
        first: int [P], template numbers.
        second: int [P].
        same: bool [P], whether they show one person.
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, eq=False)
class TemplatePeople:
    """The people of T templates.

    Attributes:
        templates: int64 [T], each once, ascending.
        people: int64 [T], the subject ids.
    """

    templates: np.ndarray
    people: np.ndarray

    def __len__(self) -> int:
        return len(self.templates)


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
    galleries: Mapping[str, TemplatePeople] = field(default_factory=dict)
    probes: TemplatePeople | None = None

    @cached_property
    def layout(self) -> TemplateLayout:
        """Which images make up each template."""
        return TemplateLayout.of(self.images.templates, self.images.medias)
