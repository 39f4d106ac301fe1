"""Inter-class filtering, as in InsightFace's PyTorch recipe (CombinedMarginLoss in its losses.py).

In a set with one person under two names, a face is near to a class that is not its own, and rightly so. Negatives
that are too near are therefore left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops import flow
from ops.losses.margin import Margin, Target


@dataclass(frozen=True)
class InterclassFiltering(Margin):
    """``margin`` on cosines of which those above ``threshold`` become 0 and get no gradient, except the own class's."""

    margin: Margin
    threshold: float

    @property
    def first_state(self) -> Mapping[str, float]:
        """See ``Margin``."""
        return self.margin.first_state

    @property
    def uses_length(self) -> bool:
        """See ``Margin``."""
        return self.margin.uses_length

    @property
    def uses_centres(self) -> bool:
        """See ``Margin``."""
        return self.margin.uses_centres

    def move(self, target: Target) -> dict[str, flow.Tensor]:
        """See ``Margin``."""
        return self.margin.move(target)

    def change_target(self, target: Target) -> flow.Tensor:
        """See ``Margin``."""
        return self.margin.change_target(target)

    def change_all(self, cosines: flow.Tensor, target: Target) -> flow.Tensor:
        """See ``Margin``."""
        kept = (cosines.detach() <= self.threshold).to(cosines.dtype)
        return self.margin.change_all(cosines * kept, target)

    def find_scale(self, target: Target, scale: float) -> float | flow.Tensor:
        """See ``Margin``."""
        return self.margin.find_scale(target, scale)

    def find_addition(self, target: Target) -> flow.Tensor | None:
        """See ``Margin``."""
        return self.margin.find_addition(target)
