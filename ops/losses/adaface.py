"""AdaFace (Kim et al., arXiv:2204.00964): the margin depends on the image quality, measured by the embedding's length.

As in the authors' code (head.py), with its constants, mean and deviation are updated before they are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin
from ops.runtime.tensors import broadcast

_SHORTEST, _LONGEST = 1e-3, 100.0
_EPSILON = 1e-3  # of the deviation, and the distance of cosines and angles from the ends of their ranges


@dataclass(frozen=True)
class AdaFace(Margin):
    """cos(theta - m * q) - (m + m * q), where q is ``h`` times the standardised length of the embedding, in [-1, 1].

    Mean and standard deviation of the lengths are moving averages with the weight ``alpha`` for one step. Lengths get
    no gradient.
    """

    m: float
    h: float
    alpha: float

    first_state = MappingProxyType({"length_mean": 20.0, "length_std": 100.0})
    uses_length = True

    @override
    def update_state(self, target: LossInputs) -> dict[str, flow.Tensor]:
        length = _clip(target.length)
        mean = broadcast(length.mean())
        squares = broadcast((length - mean).square().sum())
        std = flow.sqrt(squares / max(1, length.shape[0] - 1))
        moved = {"length_mean": mean, "length_std": std}
        return {name: target.state[name] * (1.0 - self.alpha) + value * self.alpha for name, value in moved.items()}

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        distance = _clip(target.length) - target.state["length_mean"]
        quality = (distance / (target.state["length_std"] + _EPSILON) * self.h).clamp(-1.0, 1.0)
        angle = flow.acos(target.cosine.clamp(_EPSILON - 1.0, 1.0 - _EPSILON))
        angle = (angle - quality * self.m).clamp(_EPSILON, math.pi - _EPSILON)
        return flow.cos(angle) - (quality * self.m + self.m)


def _clip(length: flow.Tensor) -> flow.Tensor:
    return length.detach().clamp(_SHORTEST, _LONGEST)
