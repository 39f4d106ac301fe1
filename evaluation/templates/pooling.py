"""Pool the features of images into features of templates.

The images of one media (a photo, or the frames of one video) are averaged, the medias of a template are added, and the
sum is scaled to length 1. All is float32 up to the sum, in the order of InsightFace's loops, so that the results are
theirs bit for bit; the division by the length is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import csr_array

from common.errors import UserError
from common.workers import available_cpus, map_in_threads

_BLOCK = 2048  # images whose sums stay in the processor's cache
_PART = 1 << 13  # images that a thread takes at a time


class TemplateSums(Protocol):
    """Adds the rows of templates up."""

    def __call__(
        self,
        features: np.ndarray,
        order: np.ndarray,
        factors: np.ndarray,
        media_begins: np.ndarray,
        template_begins: np.ndarray,
    ) -> np.ndarray:
        """Return for each template the sum over its medias of the mean of the media's rows, float32 [T, E].

        Args:
            features: float32 [N, E].
            order: int64 [n], rows of ``features`` by template and media.
            factors: float32 [n], of the rows in that order.
            media_begins: int64 [M + 1], where the rows of each media begin in ``order``.
            template_begins: int64 [T + 1], where the medias of each template begin.
        """
        ...


@dataclass(frozen=True, eq=False)
class TemplateLayout:
    """Which images make up each of T templates.

    Attributes:
        templates: int64 [T], the template numbers, ascending.
        order: int64 [N], the images by template, then media, then their own order.
        media_begins: int64 [M + 1], where the images of each media begin in ``order``.
        template_begins: int64 [T + 1], where the medias of each template begin.
    """

    templates: np.ndarray
    order: np.ndarray
    media_begins: np.ndarray
    template_begins: np.ndarray

    @classmethod
    def of(cls, templates: np.ndarray, medias: np.ndarray) -> TemplateLayout:
        """Sort N images.

        Args:
            templates: int64 [N], the template of each image.
            medias: int64 [N], its media; equal numbers in two templates are two medias.
        """
        order, template, media = np.arange(len(templates)), templates, medias
        within = templates[1:] == templates[:-1]
        if (templates[1:] < templates[:-1]).any() or (within & (medias[1:] < medias[:-1])).any():
            order = _sort_stably(templates, _sort_stably(medias, order))
            template, media = templates[order], medias[order]
        new_template = np.r_[True, template[1:] != template[:-1]]
        new_media = new_template | np.r_[True, media[1:] != media[:-1]]
        media_begins = np.flatnonzero(new_media)
        template_begins = np.flatnonzero(new_template[media_begins])
        return cls(
            template[new_template], order, np.r_[media_begins, len(order)], np.r_[template_begins, len(media_begins)]
        )

    def rows(self, templates: np.ndarray) -> np.ndarray:
        """Return the row of each template number, int32, in the shape of ``templates``.

        Raises:
            KeyError: a template is not known.
        """
        largest = int(self.templates[-1])
        if largest < 1 << 26:
            table = np.full(largest + 1, -1, np.int32)
            table[self.templates] = np.arange(len(self.templates))
            if int(templates.max(initial=0)) > largest:
                raise KeyError("unknown template")
            rows = table[templates]
        else:
            rows = np.searchsorted(self.templates, templates).astype(np.int32)
            rows[self.templates[np.minimum(rows, len(self.templates) - 1)] != templates] = -1
        if (rows < 0).any():
            raise KeyError("unknown template")
        return rows


def _sort_stably(keys: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return ``order`` sorted by ``keys[order]``, in passes of 16 bits, which numpy sorts without comparisons."""
    keys = keys - keys.min()
    for shift in range(0, int(keys.max()).bit_length(), 16):
        digits = (keys >> shift & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order


def sum_in_blocks(
    features: np.ndarray, order: np.ndarray, factors: np.ndarray, media_begins: np.ndarray, template_begins: np.ndarray
) -> np.ndarray:
    """Add up by products with sparse matrices of factors and ones, in blocks; see ``TemplateSums``."""
    sums = np.empty((len(template_begins) - 1, features.shape[1]), np.float32)
    for begin, end in _cut(media_begins[template_begins], _BLOCK):
        medias = template_begins[begin : end + 1]
        images = media_begins[medias[0] : medias[-1] + 1]
        rows = slice(images[0], images[-1])
        by_media = _sparse(factors[rows], order[rows], images, len(features)) @ features
        counts = np.diff(images)
        several = np.flatnonzero(counts > 1)
        by_media[several] /= counts[several, None].astype(np.float32)
        ones = np.ones(len(by_media), np.float32)
        sums[begin:end] = _sparse(ones, np.arange(len(by_media)), medias, len(by_media)) @ by_media
    return sums


def pool_templates(
    layout: TemplateLayout,
    features: np.ndarray,
    weights: np.ndarray | None = None,
    normalize: bool = False,
    sum_up: TemplateSums = sum_in_blocks,
) -> np.ndarray:
    """Return the templates' features, float64 [T, E], of length 1; a template of zeros stays zero.

    Args:
        layout: of N images.
        features: float32 or float16 [N, E]; may be mapped from a file.
        weights: float32 [N], a factor for each image, such as the detector score; None: none.
        normalize: scale each image to length 1 first.
        sum_up: adds the rows up; called by several threads.

    Raises:
        UserError: a template's feature is not finite, because an image's is not.
    """
    features = np.asarray(features)
    must_copy = normalize or features.dtype != np.float32 or not features.flags.c_contiguous
    pooled = np.empty((len(layout.templates), features.shape[1]))

    def pool(part: tuple[int, int]) -> None:
        medias = layout.template_begins[part[0] : part[1] + 1]
        images = layout.media_begins[medias[0] : medias[-1] + 1]
        rows, order = features, layout.order[images[0] : images[-1]]
        factors = np.ones(len(order), np.float32) if weights is None else weights[order]
        if must_copy:
            rows, order = features[order].astype(np.float32), np.arange(len(order))
        if normalize:
            lengths = np.sqrt(np.sum(rows**2, axis=1, keepdims=True))
            rows /= np.where(lengths == 0, np.float32(1), lengths)
        sums = sum_up(rows, order, factors, images - images[0], medias - medias[0])
        _scale(layout.templates[part[0] : part[1]], sums, pooled[part[0] : part[1]])

    parts = _cut(layout.media_begins[layout.template_begins], _PART)
    with map_in_threads(pool, parts, available_cpus()) as done:
        for _ in done:
            pass
    return pooled


def _cut(begins: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Return first and last + 1 of groups of templates of about ``size`` images; ``begins``: where each begins."""
    blocks = max(1, int(begins[-1]) // size)
    cuts = np.searchsorted(begins, np.linspace(0, begins[-1], blocks + 1)[1:-1])
    bounds = np.unique(np.r_[0, cuts, len(begins) - 1]).tolist()
    return list(zip(bounds, bounds[1:], strict=False))


def _sparse(factors: np.ndarray, columns: np.ndarray, begins: np.ndarray, count: int) -> csr_array:
    """Return the matrix whose row i adds, times their factors, the rows ``columns[begins[i] : begins[i + 1]]``."""
    starts = (begins - begins[0]).astype(np.int32)
    return csr_array((factors, columns.astype(np.int32), starts), shape=(len(starts) - 1, count))


def _scale(templates: np.ndarray, sums: np.ndarray, pooled: np.ndarray) -> None:
    """Fill ``pooled`` with the sums as float64 rows of length 1.

    Raises:
        UserError: one is not finite.
    """
    pooled[:] = sums
    lengths = np.sqrt(np.einsum("te,te->t", pooled, pooled))
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise UserError(f"template {templates[bad[0]]}: the feature of one of its images is NaN or Inf")
    pooled /= np.where(lengths == 0, 1.0, lengths)[:, None]
