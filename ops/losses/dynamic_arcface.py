"""ArcFace with a margin for each class by its number of images: rare classes get a larger one.

From landmark recognition (Ha et al., arXiv:2010.05350: "Sub-center ArcFace with dynamic margins"). As in the authors'
code, beyond theta = pi - margin the logit is a straight line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from ops import flow
from ops.losses.margin import LossInputs, Margin, add_angle_or_fall


@dataclass(frozen=True, eq=False)
class DynamicArcFace(Margin):
    """cos(theta + m) with ``margins[c]`` for the images of class c, float32 [C]."""

    margins: np.ndarray | None

    has_image_margins = True

    @override
    def image_margins(self, labels: np.ndarray, step: int, first: int) -> np.ndarray:
        if self.margins is None:
            raise ValueError("dynamic_arcface goes by the number of images of each class: give the head class_sizes")
        return self.margins[labels]

    @override
    def change_target(self, target: LossInputs) -> flow.Tensor:
        return add_angle_or_fall(target.cosine, target.margin, easy=False)


def margins_by_size(sizes: np.ndarray, smallest: float, largest: float, power: float) -> np.ndarray:
    """Return a n^-power + b of each class of n images, float32 [C], from ``smallest`` to ``largest``.

    Classes without images have margin ``largest``, and so has each class if all are of one size.
    """
    wanted = np.maximum(sizes, 1).astype(np.float64) ** -power
    present = wanted[sizes > 0]
    low, high = (present.min(), present.max()) if len(present) else (1.0, 1.0)
    share = (wanted - low) / (high - low) if high > low else np.ones_like(wanted)
    return (smallest + (largest - smallest) * np.clip(share, 0, 1)).astype(np.float32)
