"""ArcFace as InsightFace's train_softmax.py has it under ``--loss-type 4``; ``arc_loss`` of the older OneFlow port."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ops import flow
from ops.losses.margin import Margin, Target, add_angle


@dataclass(frozen=True)
class ArcLoss(Margin):
    """cos(theta + m), and cos(theta) - m * sin(m) where theta + m is beyond pi, so that it keeps falling.

    With ``easy`` the margin is for positive cosines alone.
    """

    m: float
    easy: bool = False

    def change_target(self, target: Target) -> flow.Tensor:
        """Return the target cosines with the margin, differentiable and finite on [-1, 1]."""
        cosine = target.cosine
        changed = add_angle(cosine, self.m)
        if self.easy:
            return flow.where(cosine > 0, changed, cosine)
        return flow.where(cosine > math.cos(math.pi - self.m), changed, cosine - self.m * math.sin(self.m))
