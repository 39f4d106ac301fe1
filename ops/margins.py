"""Margins: what a loss does to the cosine between an embedding and the centre of its own class.

Each works on the target cosines alone, float32 [B]; the head puts the result back in its place. ArcFace
(arXiv:1801.07698), CosFace (arXiv:1801.09414) and the combined form follow InsightFace's train.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ops import flow

# Keeps sin(theta) above 3e-4, so that the derivative of the margin stays finite where the cosine is 1 or -1.
_COSINE_LIMIT = 1.0 - 1e-7


@dataclass(frozen=True)
class CombinedMargin:
    """cos(m1 * theta + m2) - m3; (1, 0, 0) is normalised softmax, (1, m, 0) ArcFace, (1, 0, m) CosFace."""

    m1: float
    m2: float
    m3: float

    def __call__(self, cosine: flow.Tensor) -> flow.Tensor:
        """Return the target cosines with the margin, differentiable and finite on [-1, 1]."""
        if self.m1 != 1.0:
            angle = flow.acos(cosine.clamp(-_COSINE_LIMIT, _COSINE_LIMIT))
            return flow.cos(angle * self.m1 + self.m2) - self.m3
        if self.m2 == 0.0:
            return cosine - self.m3
        inside = cosine.clamp(-_COSINE_LIMIT, _COSINE_LIMIT)
        sine = flow.sqrt((1.0 - inside) * (1.0 + inside))
        return inside * math.cos(self.m2) - sine * math.sin(self.m2) - self.m3
