"""ArcFace as in ``--loss-type 4`` of InsightFace's train_softmax.py, and ``arc_loss`` of the older OneFlow port."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin, add_angle_or_fall


@dataclass(frozen=True)
class ArcLoss(Margin):
    """cos(theta + m), and cos(theta) - m * sin(m) where theta + m is beyond pi, so that it keeps falling.

    With ``easy`` the margin applies only to positive cosines.
    """

    m: float
    easy: bool = False

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        return add_angle_or_fall(target.cosine, self.m, self.easy)
