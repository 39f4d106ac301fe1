"""Circle loss (Sun et al., arXiv:2002.10857), in its form for training with class labels.

Each similarity has a weight of its own: the farther from its optimum, the larger. With class labels the loss is a
softmax cross entropy. The weights carry no gradient, as in the paper's section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin


@dataclass(frozen=True)
class CircleLoss(Margin):
    """gamma * a * (cos - (1 - m)) for the own class, a = max(0, 1 + m - cos); gamma * b * (cos - m) for the others.

    b = max(0, cos + m). ``gamma`` takes the place of the scale.
    """

    m: float
    gamma: float

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        weight = (1.0 + self.m - target.cosine.detach()).clamp(min=0.0)
        return weight * (target.cosine - (1.0 - self.m))

    @override
    def change_all(self, cosines: flow.Tensor, target: LossInputs) -> flow.Tensor:
        weight = (cosines.detach() + self.m).clamp(min=0.0)
        padding = (cosines.detach() + 2.0).clamp(max=0.0)  # the weight of padding rows is 0, so it is added again
        return weight * (cosines - self.m) + padding

    @override
    def scale(self, target: LossInputs, scale: float) -> float | flow.Tensor:
        return self.gamma
