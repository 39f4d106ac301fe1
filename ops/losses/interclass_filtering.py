"""Inter-class filtering, as in InsightFace's PyTorch recipe (CombinedMarginLoss in its losses.py).

If a dataset lists one person under two names, a face is rightly similar to a class with another label. Negatives that
are too similar are therefore ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin


@dataclass(frozen=True)
class InterclassFiltering(Margin):
    """``margin`` after negatives with a cosine above ``threshold`` are set to 0, without a gradient."""

    margin: Margin
    threshold: float

    @property
    @override
    def first_state(self) -> Mapping[str, float]:
        return self.margin.first_state

    @property
    @override
    def uses_length(self) -> bool:
        return self.margin.uses_length

    @property
    @override
    def uses_centres(self) -> bool:
        return self.margin.uses_centres

    @property
    @override
    def has_image_margins(self) -> bool:
        return self.margin.has_image_margins

    @property
    @override
    def first_trained(self) -> Mapping[str, float]:
        return self.margin.first_trained

    @override
    def image_margins(self, labels: np.ndarray, step: int, first: int) -> np.ndarray:
        return self.margin.image_margins(labels, step, first)

    @override
    def update_state(self, target: LossInputs) -> dict[str, flow.Tensor]:
        return self.margin.update_state(target)

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        return self.margin.change_target(target)

    @override
    def change_all(self, cosines: flow.Tensor, target: LossInputs) -> flow.Tensor:
        kept = (cosines.detach() <= self.threshold).to(cosines.dtype)
        return self.margin.change_all(cosines * kept, target)

    @override
    def scale(self, target: LossInputs, scale: float) -> float | flow.Tensor:
        return self.margin.scale(target, scale)

    @override
    def extra_loss(self, target: LossInputs) -> flow.Tensor | None:
        return self.margin.extra_loss(target)

    @override
    def sum_classes(self, logits: flow.Tensor, target: LossInputs) -> flow.Tensor | None:
        return self.margin.sum_classes(logits, target)

    @override
    def image_losses(self, total: flow.Tensor, target: LossInputs, scale: float) -> flow.Tensor:
        return self.margin.image_losses(total, target, scale)
