"""The settings of a loss. Needs no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LossOptions:
    """The loss by name and its numbers; fields are the keys of sample_config.py, defaults are ArcFace's.

    Attributes:
        loss_name: a name in ``ops.losses.registry.LOSSES`` or ``ops.heads.triplet.DISTANCES``.
        loss_s: scale of the cosines; unused by ``softmax``.
        loss_m1: angle factor of the combined margin cos(m1 * theta + m2) - m3; SphereFace's m.
        loss_m2: angle, in radians, that the combined margin adds; CurricularFace's m, MV-Arc's.
        loss_m3: cosine that the combined margin subtracts; AdaFace's m, MV-AM's, Circle loss's.
        easy_margin: the margin for positive cosines only.
        loss_h: how much AdaFace's margin depends on the length of an embedding.
        loss_t_alpha: share of one step in the moving means of CurricularFace and AdaFace.
        loss_std: ElasticFace: standard deviation of the margins.
        loss_plus: ElasticFace+: the larger margins go to the images that are farther from their centres.
        loss_m_min: dynamic ArcFace: margin of the largest class.
        loss_m_max: dynamic ArcFace: margin of the smallest class.
        loss_m_power: dynamic ArcFace: margins go with the size of a class to minus this power.
        loss_l: UniFace: weight of the negatives.
        loss_t: MV-Softmax: how much more hard negatives weigh, t of the authors' code (the paper's t - 1).
        loss_gamma: Circle loss: its scale.
        loss_l_a: MagFace: length of an embedding up to which the margin is ``loss_l_margin``.
        loss_u_a: MagFace: length from which the margin is ``loss_u_margin``.
        loss_l_margin: MagFace: the smallest margin, an angle in radians.
        loss_u_margin: MagFace: the largest margin.
        loss_lambda_g: MagFace: weight of the term that draws lengths out.
        loss_b: weight of the second term of the intra- and the inter-loss.
        loss_lambda_base: SphereFace's lambda is max(min, base * (1 + gamma * step) ** -power).
        loss_lambda_gamma: see ``loss_lambda_base``.
        loss_lambda_power: see ``loss_lambda_base``.
        loss_lambda_min: see ``loss_lambda_base``.
        loss_lambda_freeze: steps before SphereFace's lambda begins to fall.
        label_smoothing: share of the wanted probability that is spread over all classes of a step.
        interclass_filtering_threshold: negatives with a larger cosine are left out; 0 keeps all.
        triplet_alpha: margin of the triplet losses.
    """

    loss_name: str = "margin_softmax"
    loss_s: float = 64.0
    loss_m1: float = 1.0
    loss_m2: float = 0.5
    loss_m3: float = 0.0
    easy_margin: bool = False
    loss_h: float = 0.333
    loss_t_alpha: float = 0.01
    loss_std: float = 0.05
    loss_plus: bool = False
    loss_m_min: float = 0.05
    loss_m_max: float = 0.5
    loss_m_power: float = 0.25
    loss_l: float = 1.0
    loss_t: float = 0.2
    loss_gamma: float = 256.0
    loss_l_a: float = 10.0
    loss_u_a: float = 110.0
    loss_l_margin: float = 0.45
    loss_u_margin: float = 0.8
    loss_lambda_g: float = 35.0
    loss_b: float = 1.0
    loss_lambda_base: float = 1000.0
    loss_lambda_gamma: float = 0.12
    loss_lambda_power: float = 1.0
    loss_lambda_min: float = 5.0
    loss_lambda_freeze: int = 0
    label_smoothing: float = 0.0
    interclass_filtering_threshold: float = 0.0
    triplet_alpha: float = 0.3

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LossOptions:
        """Take the known keys of ``config``; a missing key means its default."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})


@dataclass(frozen=True, eq=False)
class Classes:
    """What a loss may know of the classes and the run.

    Attributes:
        in_step: classes that take part in a step, over all ranks; with Partial FC without those that a batch has beyond
            its share.
        sizes: images of each class, int64 [C]; None where they are not known.
        seed: of random margins.
    """

    in_step: int = 0
    sizes: np.ndarray | None = None
    seed: int = 0
