"""ElasticFace (Boutros et al., arXiv:2109.09416): the margin of each image is drawn at random in each step.

Draws are a function of seed, step and the image's place in the batch of all ranks, so that runs repeat on any number of
ranks. ElasticFace+ gives larger margins to images that are farther from their centres, as the paper says; the authors'
code indexes the sorted margins by the order of the images instead of by their ranks, which gives them to others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin, add_angle
from ops.runtime.tensors import broadcast

_PURPOSE = 0x656C6173  # separates these draws from others with the same seed


@dataclass(frozen=True)
class ElasticFace(Margin):
    """cos(theta + a) - c. ``angle`` and ``cosine`` are the means of a and c; the one that is not 0 varies by ``std``.

    With ``plus`` the margins are sorted: the image that is nearest to its centre gets the smallest.
    """

    angle: float
    cosine: float
    std: float
    plus: bool
    seed: int

    has_image_margins = True

    @override
    def image_margins(self, labels: np.ndarray, step: int, first: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self.seed, step], counter=[0, 0, 0, _PURPOSE]))
        drawn = generator.standard_normal(first + len(labels))[first:]
        return (drawn * self.std + (self.angle or self.cosine)).astype(np.float32)

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        margin = self._sort(target) if self.plus else target.margin
        return add_angle(target.cosine, margin) if self.angle else target.cosine - margin

    def _sort(self, target: LossInputs) -> flow.Tensor:
        nearest_first = flow.argsort(broadcast(target.cosine.detach()), descending=True)
        smallest_first = flow.sort(broadcast(target.margin))[0]
        return flow.gather(smallest_first, 0, flow.argsort(nearest_first))
