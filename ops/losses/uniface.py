"""UniFace (Zhou et al., "UniFace: Unified Cross-Entropy Loss for Deep Face Recognition", ICCV 2023).

Each cosine is compared with one threshold, the same for all classes, as in verification. As in the authors' code
(head.py of CVI-SZU/UniFace) the threshold is a trained number, with weight decay, that starts at log(10 r C), where r C
are the classes of a step. Unlike there, and as in the paper, logits are not clamped to [-s, s], which would cut off the
gradient of the worst positives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin


@dataclass(frozen=True)
class UniFace(Margin):
    """log(1 + exp(b - s (cos theta - m))) + ``weight`` times the sum of log(1 + exp(s cos - b)) over the others.

    b, the threshold times s, is trained.
    """

    m: float
    weight: float
    classes: int

    @property
    @override
    def first_trained(self) -> dict[str, float]:
        return {"b": math.log(10 * max(1, self.classes))}

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        return target.cosine - self.m

    @override
    def sum_classes(self, logits: flow.Tensor, target: LossInputs) -> flow.Tensor | None:
        return flow.nn.functional.softplus(logits - target.trained["b"]).sum(dim=2)

    @override
    def image_losses(self, total: flow.Tensor, target: LossInputs, scale: float) -> flow.Tensor:
        own = (target.cosine - self.m) * scale - target.trained["b"]
        # log(1 + exp(-x)) = log(1 + exp(x)) - x; the total contains the own class.
        negative = flow.nn.functional.softplus(own) * (1.0 - self.weight)
        return total * self.weight + negative - own
