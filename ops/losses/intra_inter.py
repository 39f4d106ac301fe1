"""Intra-loss and inter-loss: ArcFace with a second term about angles (arXiv:1801.07698, section on other losses).

They are the loss types 6 and 7 of InsightFace's older MXNet scripts (train_softmax.py and its like); ``loss_b`` is
their ``--margin-b``, ``loss_m2`` their ``--margin-m``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from typing_extensions import override

from ops import flow
from ops.losses.margin import COSINE_LIMIT, CombinedMargin, LossInputs


@dataclass(frozen=True)
class IntraLoss(CombinedMargin):
    """The margin, and ``weight`` times the mean angle between embedding and own centre, as a share of pi."""

    weight: float = 1.0

    @override
    def extra_loss(self, target: LossInputs) -> flow.Tensor | None:
        angle = flow.acos(target.cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT))
        return angle.mean() * (self.weight / math.pi)


@dataclass(frozen=True)
class InterLoss(CombinedMargin):
    """The margin, and ``weight`` times the mean cosine of the images' own centres with all centres.

    The paper uses the negative mean angle with the other centres; the scripts use the cosine and include the own
    centre, which has no gradient.
    """

    weight: float = 1.0
    uses_centres = True

    @override
    def extra_loss(self, target: LossInputs) -> flow.Tensor | None:
        return target.between.mean() * self.weight
