"""AdaCos (Zhang et al., arXiv:1905.00292): normalised softmax whose scale follows from the angles of the batch.

The dynamic form. The scale is such that the probability of the own class changes fastest at the median angle. It is for
the softmax that is computed: with Partial FC over the classes of a step, so it starts at their number and counts their
negatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin
from ops.runtime.tensors import broadcast


@dataclass(frozen=True)
class AdaCos(Margin):
    """s cos theta, and s cos for the others; s = log(B) / cos(min(pi / 4, median theta)).

    B is the mean over the images of the sum of exp(s' cos) over the other classes, with the scale s' of the step
    before, which is sqrt(2) log(``classes`` - 1) at first. The median of an even number of angles is the smaller one of
    the two in the middle.
    """

    classes: int

    @property
    @override
    def first_state(self) -> dict[str, float]:
        return {"s": math.sqrt(2) * math.log(max(2, self.classes - 1))}

    @override
    def update_state(self, target: LossInputs) -> dict[str, flow.Tensor]:
        before, own = target.state["s"], broadcast(target.cosine.detach())
        total = broadcast(flow.exp(target.cosines.detach() * before).sum()) - flow.exp(own * before).sum()
        middle = flow.sort(own, descending=True)[0][(own.shape[0] - 1) // 2]
        return {"s": flow.log(total / own.shape[0]).reshape(1) / middle.clamp(min=math.sqrt(0.5))}

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        return target.cosine

    @override
    def scale(self, target: LossInputs, scale: float) -> float | flow.Tensor:
        return target.state["s"].reshape(1, 1, 1)
