"""CurricularFace (Huang et al., arXiv:2004.00288): the weight of hard negatives grows as training proceeds.

Where the paper is not specific, this follows the authors' code: the mean is updated before it is used, and targets
beyond pi - m get a straight line instead of a cosine that rises again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin, add_angle, align
from ops.runtime.tensors import broadcast


@dataclass(frozen=True)
class CurricularFace(Margin):
    """ArcFace's margin ``m`` on the target; cosines above cos(theta + m) of their image become cos * (t + cos).

    t is a moving average of the target cosines, with the weight ``alpha`` for one step.
    """

    m: float
    alpha: float

    first_state = MappingProxyType({"t": 0.0})

    @override
    def update_state(self, target: LossInputs) -> dict[str, flow.Tensor]:
        mean = broadcast(target.cosine.detach().mean())
        return {"t": target.state["t"] * (1.0 - self.alpha) + mean * self.alpha}

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        cosine = target.cosine
        straight = cosine - math.sin(self.m) * self.m
        return flow.where(cosine > -math.cos(self.m), add_angle(cosine, self.m), straight)

    @override
    def change_all(self, cosines: flow.Tensor, target: LossInputs) -> flow.Tensor:
        limit = align(add_angle(target.cosine.detach(), self.m), cosines)
        hard = (cosines.detach() > limit).to(cosines.dtype)
        return cosines * ((cosines + target.state["t"] - 1.0) * hard + 1.0)
