"""SphereFace (Liu et al., arXiv:1704.08063): a multiplicative margin that is phased in gradually."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin


@dataclass(frozen=True)
class SphereFace(Margin):
    """(lambda * cos(theta) + psi(theta)) / (1 + lambda), psi = (-1)^k cos(m theta) - 2k on [k pi/m, (k + 1) pi/m].

    lambda = max(minimum, base * (1 + gamma * n)^-power) in step n, from 1, counted after the first ``freeze`` steps, in
    which it is ``base``. Embeddings keep their lengths, which replace the scale.
    """

    m: int
    base: float
    gamma: float
    power: float
    minimum: float
    freeze: int = 0

    first_state = MappingProxyType({"iteration": 0.0})
    uses_length = True

    @override
    def update_state(self, target: LossInputs) -> dict[str, flow.Tensor]:
        return {"iteration": target.state["iteration"] + 1.0}

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        share = 1.0 / (1.0 + self._lambda(target.state))
        return target.cosine + (self._psi(target.cosine) - target.cosine) * share

    def _lambda(self, state: Mapping[str, flow.Tensor]) -> flow.Tensor:
        passed = (state["iteration"] - float(self.freeze)).clamp(min=0.0)
        return ((passed * self.gamma + 1.0).pow(-self.power) * self.base).clamp(min=self.minimum)

    def _psi(self, cosine: flow.Tensor) -> flow.Tensor:
        before, multiple = 1.0, cosine
        for _ in range(self.m - 1):
            before, multiple = multiple, cosine * multiple * 2.0 - before
        passed = [(cosine.detach() < math.cos(math.pi * j / self.m)).to(cosine.dtype) for j in range(1, self.m)]
        if not passed:
            return multiple
        sign, k = 1.0, 0.0
        for one in passed:
            sign, k = (1.0 - one * 2.0) * sign, one + k
        return multiple * sign - k * 2.0

    @override
    def scale(self, target: LossInputs, scale: float) -> float | flow.Tensor:
        return target.length.reshape(-1, 1, 1)
