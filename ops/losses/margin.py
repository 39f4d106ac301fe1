"""The interface of all margins (changes of the cosines between embeddings and centres), and the combined margin.

ArcFace (arXiv:1801.07698), CosFace (arXiv:1801.09414) and the combined form follow InsightFace's train.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from typing_extensions import override

from ops import flow

# Keeps sin(theta) above 3e-4, so that the derivative of the margin stays finite where the cosine is 1 or -1.
COSINE_LIMIT = 1.0 - 1e-7


@dataclass(frozen=True)
class LossInputs:
    """The values of a step that a loss may use, the same on every rank except for ``cosines``.

    Attributes:
        cosine: between each embedding and the centre of its own class, float32 [B].
        length: of each embedding, float32 [B]; None unless the loss sets ``uses_length``.
        state: the loss's moving values by name, float32 [1] each.
        between: mean cosine of the centre of its own class with all centres that take part, itself included, float32
            [B]; None unless the loss sets ``uses_centres``.
        margin: of each image, float32 [B]: what ``Margin.image_margins`` returned; None without.
        cosines: with all centres that take part, float32 [B, shards, rows]; padding rows have large negative numbers.
        trained: the loss's trained numbers by name, float32 [1] each.
    """

    cosine: flow.Tensor
    length: flow.Tensor | None
    state: Mapping[str, flow.Tensor]
    between: flow.Tensor | None = None
    margin: flow.Tensor | None = None
    cosines: flow.Tensor | None = None
    trained: Mapping[str, flow.Tensor] = MappingProxyType({})


class Margin:
    """A loss on cosines. It holds only constants: moving values are passed in and returned.

    Attributes:
        first_state: the moving values before the first step; empty for most losses.
        uses_length: whether the loss needs the lengths of the embeddings.
        uses_centres: whether the loss compares class centres; rows then enter the graph as tensors.
        has_image_margins: whether ``image_margins`` gives each image a margin.
        first_trained: the numbers that the loss trains by gradient, with their initial values; empty for most losses.
    """

    first_state: Mapping[str, float] = MappingProxyType({})
    uses_length = False
    uses_centres = False
    has_image_margins = False
    first_trained: Mapping[str, float] = MappingProxyType({})

    def image_margins(self, labels: np.ndarray, step: int, first: int) -> np.ndarray:
        """Return the margins of some images of a step, made outside the graph, float32 [b].

        Args:
            labels: classes of the images, int [b].
            step: number of the step.
            first: place of the first of them in the batch of all ranks.
        """
        raise NotImplementedError

    def update_state(self, target: LossInputs) -> dict[str, flow.Tensor]:
        """Return the moving values of this step from those of the step before, float32 [1] each."""
        return {}

    def change_target(self, target: LossInputs) -> flow.Tensor:
        """Return the changed cosines with the own centres, float32 [B]."""
        raise NotImplementedError

    def change_all(self, cosines: flow.Tensor, target: LossInputs) -> flow.Tensor:
        """Return the changed ``cosines`` with all centres, element by element, float32 [B, ...].

        Those with the own centres are included; ``change_target`` overrides them. So are the large negative numbers of
        padding rows, which must stay large and negative.
        """
        return cosines

    def scale(self, target: LossInputs, scale: float) -> float | flow.Tensor:
        """Return the factor that turns cosines into logits: a number, or a tensor [B, 1, 1]."""
        return scale

    def extra_loss(self, target: LossInputs) -> flow.Tensor | None:
        """Return the scalar to add to the mean cross entropy, or None."""
        return None

    def sum_classes(self, logits: flow.Tensor, target: LossInputs) -> flow.Tensor | None:
        """Return what the loss of each image sums over the classes of each shard, float32 [B, shards].

        None is the softmax cross entropy; otherwise ``image_losses`` makes the losses of the sums.

        Args:
            logits: float32 [B, shards, rows], large negative numbers for padding rows.
            target: of the own classes.
        """
        return None

    def image_losses(self, total: flow.Tensor, target: LossInputs, scale: float) -> flow.Tensor:
        """Return the loss of each image, float32 [B].

        Args:
            total: the sums of ``sum_classes`` over all shards, float32 [B].
            target: of the own classes.
            scale: factor of the cosines.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class CombinedMargin(Margin):
    """cos(m1 * theta + m2) - m3; (1, 0, 0) is normalised softmax, (1, m, 0) ArcFace, (1, 0, m) CosFace.

    With ``easy`` the margin applies only to positive cosines, as with ``easy_margin`` of InsightFace's train.py.
    """

    m1: float
    m2: float
    m3: float
    easy: bool = False

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        changed = self._add(target.cosine)
        return flow.where(target.cosine > 0, changed, target.cosine) if self.easy else changed

    def _add(self, cosine: flow.Tensor) -> flow.Tensor:
        if self.m1 != 1.0:
            angle = flow.acos(cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT))
            return flow.cos(angle * self.m1 + self.m2) - self.m3
        if self.m2 == 0.0:
            return cosine - self.m3
        return add_angle(cosine, self.m2) - self.m3


def add_angle(cosine: flow.Tensor, angle: float | flow.Tensor) -> flow.Tensor:
    """Return cos(theta + angle) of cos(theta), differentiable and finite on [-1, 1].

    ``angle`` is one number, or one for each cosine.
    """
    inside = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)
    sine = flow.sqrt((1.0 - inside) * (1.0 + inside))
    if isinstance(angle, flow.Tensor):
        return inside * flow.cos(angle) - sine * flow.sin(angle)
    return inside * math.cos(angle) - sine * math.sin(angle)


def add_angle_or_fall(cosine: flow.Tensor, angle: float | flow.Tensor, easy: bool) -> flow.Tensor:
    """Return cos(theta + angle), and cos(theta) - angle * sin(angle) where theta + angle is beyond pi.

    So it falls all the way from 0 to pi. If ``easy``, cosines that are not positive stay as they are instead.
    """
    changed = add_angle(cosine, angle)
    if easy:
        return flow.where(cosine > 0, changed, cosine)
    if isinstance(angle, flow.Tensor):
        return flow.where(cosine + flow.cos(angle) > 0, changed, cosine - angle * flow.sin(angle))
    return flow.where(cosine > math.cos(math.pi - angle), changed, cosine - angle * math.sin(angle))


def align(values: flow.Tensor, cosines: flow.Tensor) -> flow.Tensor:
    """Return ``values`` [B] in a shape that broadcasts against ``cosines`` [B, ...]."""
    return values.reshape(values.shape[0], *[1] * (cosines.ndim - 1))
