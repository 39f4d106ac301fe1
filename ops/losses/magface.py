"""MagFace (Meng et al., arXiv:2103.06627): the margin grows with the length of the embedding.

A second term rewards length, so that faces that are easy to recognise get long embeddings: the length says how good an
image is. Where the paper is not specific, this follows the authors' code (models/magface.py, run/run.sh): lengths
outside of the bounds count as the bound and get no gradient there, and with ``easy``, its default, the margin is for
positive cosines only.
"""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin, add_angle_or_fall


@dataclass(frozen=True)
class MagFace(Margin):
    """cos(theta + m(a)), m linear in the length a from ``lower_margin`` at ``lower`` to ``upper_margin`` at ``upper``.

    The second term is ``weight`` times the mean of a / upper^2 + 1 / a. Lengths have a gradient through both.
    """

    lower: float
    upper: float
    lower_margin: float
    upper_margin: float
    weight: float
    easy: bool = True

    uses_length = True

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        slope = (self.upper_margin - self.lower_margin) / (self.upper - self.lower)
        angle = (self._clip(target) - self.lower) * slope + self.lower_margin
        return add_angle_or_fall(target.cosine, angle, self.easy)

    @override
    def extra_loss(self, target: LossInputs) -> flow.Tensor | None:
        length = self._clip(target)
        return (length / self.upper**2 + 1.0 / length).mean() * self.weight

    def _clip(self, target: LossInputs) -> flow.Tensor:
        return target.length.clamp(self.lower, self.upper)
