"""Pool the features of images into features of templates.

The images of one media (a photo, or the frames of one video) are averaged, the medias of a template are added, and the
sum is scaled to length 1. All is float32 up to the sum, in the order of InsightFace's loops, so that the results are
theirs bit for bit; the division by the length is float64.

Both steps are products with a sparse matrix of zeros and ones: each image is read once, in blocks of templates whose
medias stay in the processor's cache.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from common.errors import UserError
from common.workers import available_cpus, map_in_threads

_BLOCK = 2048  # images


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
        order = _sort_stably(templates, _sort_stably(medias, np.arange(len(templates))))
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


def pool_templates(
    layout: TemplateLayout,
    features: np.ndarray,
    weights: np.ndarray | None = None,
    normalize: bool = False,
    num_threads: int | None = None,
) -> np.ndarray:
    """Return the templates' features, float64 [T, E], of length 1; a template of zeros stays zero.

    Args:
        layout: of N images.
        features: float32 or float16 [N, E]; may be mapped from a file.
        weights: float32 [N], a factor for each image, such as the detector score; None: none.
        normalize: scale each image to length 1 first.
        num_threads: None: all cores.

    Raises:
        UserError: a template's feature is not finite, because an image's is not.
    """
    bounds = _block_bounds(layout)
    sums = np.empty((len(layout.templates), features.shape[1]), np.float64)
    pool = functools.partial(_pool_block, layout, np.asarray(features), weights, normalize, sums)
    for _ in map_in_threads(pool, zip(bounds, bounds[1:], strict=False), num_threads or available_cpus()):
        pass
    return sums


def _block_bounds(layout: TemplateLayout) -> list[int]:
    """Return the first template of each block, and the number of templates."""
    begins = layout.media_begins[layout.template_begins]
    blocks = max(1, int(begins[-1]) // _BLOCK)
    cuts = np.searchsorted(begins, np.linspace(0, begins[-1], blocks + 1)[1:-1])
    return np.unique(np.r_[0, cuts, len(layout.templates)]).tolist()


def _pool_block(
    layout: TemplateLayout,
    features: np.ndarray,
    weights: np.ndarray | None,
    normalize: bool,
    sums: np.ndarray,
    block: tuple[int, int],
) -> None:
    """Fill the rows of ``sums`` of the templates from ``block[0]`` to ``block[1]``."""
    begin, end = block
    template_begins = layout.template_begins[begin : end + 1]
    media_begins = layout.media_begins[template_begins[0] : template_begins[-1] + 1]
    images = layout.order[media_begins[0] : media_begins[-1]]
    factors = np.ones(len(images), np.float32) if weights is None else weights[images]
    columns = images
    if normalize or features.dtype != np.float32:
        features = features[images].astype(np.float32)
        columns = np.arange(len(images))
        if normalize:
            lengths = np.sqrt(np.sum(features**2, axis=1, keepdims=True))
            features /= np.where(lengths == 0, np.float32(1), lengths)
    counts = np.diff(media_begins)
    by_media = _sum_rows(factors, columns, media_begins, len(features)) @ features
    several = np.flatnonzero(counts > 1)
    by_media[several] /= counts[several, None].astype(np.float32)
    ones = np.ones(len(by_media), np.float32)
    pooled = _sum_rows(ones, np.arange(len(by_media)), template_begins, len(by_media)) @ by_media
    pooled = pooled.astype(np.float64)
    lengths = np.sqrt(np.einsum("te,te->t", pooled, pooled))
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        raise UserError(f"template {layout.templates[begin + bad[0]]}: the feature of one of its images is NaN or Inf")
    sums[begin:end] = pooled / np.where(lengths == 0, 1.0, lengths)[:, None]


def _sum_rows(factors: np.ndarray, columns: np.ndarray, begins: np.ndarray, count: int) -> csr_array:
    """Return the matrix whose row i adds, times their factors, the rows ``columns[begins[i] : begins[i + 1]]``."""
    starts = (begins - begins[0]).astype(np.int32)
    return csr_array((factors, columns.astype(np.int32), starts), shape=(len(starts) - 1, count))
