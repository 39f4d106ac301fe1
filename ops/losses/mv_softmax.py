"""MV-Softmax (Wang et al., arXiv:1912.00833): misclassified vectors, the hard negatives, weigh more.

As in the authors' code (fc_layers.py), ``t`` is what the paper calls t - 1, and the margin is for positive cosines
only. Of the paper's two forms this is the adaptive one, which the code uses: a nearer negative weighs more.
"""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import override

from ops import flow
from ops.losses.margin import CombinedMargin, LossInputs, align


@dataclass(frozen=True)
class MVSoftmax(CombinedMargin):
    """The combined margin on the target; cosines above the target's with its margin become (1 + t) cos + t.

    ``MV-AM`` has the margin of CosFace, ``MV-Arc`` that of ArcFace. With ``easy`` the comparison is with the margin
    all the same.
    """

    t: float = 0.2

    @override
    def change_all(self, cosines: flow.Tensor, target: LossInputs) -> flow.Tensor:
        limit = align(self._add(target.cosine.detach()), cosines)
        hard = (cosines.detach() > limit).to(cosines.dtype)
        return cosines + (cosines + 1.0) * hard * self.t
