"""AdaFace (Kim et al., arXiv:2204.00964): the margin depends on the image's quality, of which the length tells.

Follows the authors' code (head.py): its constants, and mean and deviation that move before they are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from ops import flow
from ops.losses.margin import Margin, Target

_SHORTEST, _LONGEST = 1e-3, 100.0
_EPSILON = 1e-3  # of the deviation, and the distance of cosines and angles from the ends of their ranges


@dataclass(frozen=True)
class AdaFace(Margin):
    """cos(theta - m * q) - (m + m * q), where q is ``h`` times the standardised length of the embedding, in [-1, 1].

    Mean and standard deviation of the lengths move, a step having the share ``alpha`` in them. No gradient goes
    through lengths.
    """

    m: float
    h: float
    alpha: float

    first_state = MappingProxyType({"length_mean": 20.0, "length_std": 100.0})
    uses_length = True

    def move(self, target: Target) -> dict[str, flow.Tensor]:
        """See ``Margin``."""
        length = _clip(target.length)
        mean = length.mean().to_global(sbp=flow.sbp.broadcast)
        squares = (length - mean).square().sum().to_global(sbp=flow.sbp.broadcast)
        std = flow.sqrt(squares / max(1, length.shape[0] - 1))
        moved = {"length_mean": mean, "length_std": std}
        return {name: target.state[name] * (1.0 - self.alpha) + value * self.alpha for name, value in moved.items()}

    def change_target(self, target: Target) -> flow.Tensor:
        """See ``Margin``."""
        distance = _clip(target.length) - target.state["length_mean"]
        quality = (distance / (target.state["length_std"] + _EPSILON) * self.h).clamp(-1.0, 1.0)
        angle = flow.acos(target.cosine.clamp(_EPSILON - 1.0, 1.0 - _EPSILON))
        angle = (angle - quality * self.m).clamp(_EPSILON, math.pi - _EPSILON)
        return flow.cos(angle) - (quality * self.m + self.m)


def _clip(length: flow.Tensor) -> flow.Tensor:
    return length.detach().clamp(_SHORTEST, _LONGEST)
