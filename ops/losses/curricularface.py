"""CurricularFace (Huang et al., arXiv:2004.00288): hard negatives weigh the more, the further training has come.

Follows the authors' code where the paper leaves things open: the mean moves before it is used, and targets beyond
pi - m get a straight line instead of a cosine that rises again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from ops import flow
from ops.losses.margin import Margin, Target, add_angle, align


@dataclass(frozen=True)
class CurricularFace(Margin):
    """ArcFace's margin ``m`` on the target; cosines above cos(theta + m) of their image become cos * (t + cos).

    t is a moving mean of the target cosines, in which a step has the share ``alpha``.
    """

    m: float
    alpha: float

    first_state = MappingProxyType({"t": 0.0})

    def move(self, target: Target) -> dict[str, flow.Tensor]:
        """See ``Margin``."""
        mean = target.cosine.detach().mean().to_global(sbp=flow.sbp.broadcast)
        return {"t": target.state["t"] * (1.0 - self.alpha) + mean * self.alpha}

    def change_target(self, target: Target) -> flow.Tensor:
        """See ``Margin``."""
        cosine = target.cosine
        straight = cosine - math.sin(self.m) * self.m
        return flow.where(cosine > -math.cos(self.m), add_angle(cosine, self.m), straight)

    def change_all(self, cosines: flow.Tensor, target: Target) -> flow.Tensor:
        """See ``Margin``."""
        limit = align(add_angle(target.cosine.detach(), self.m), cosines)
        hard = (cosines.detach() > limit).to(cosines.dtype)
        return cosines * ((cosines + target.state["t"] - 1.0) * hard + 1.0)
