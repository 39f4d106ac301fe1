"""The losses by name, from simple to difficult, each built from the settings."""

from __future__ import annotations

from collections.abc import Callable

from common.errors import lookup
from ops.losses.adaface import AdaFace
from ops.losses.arc_loss import ArcLoss
from ops.losses.circle import CircleLoss
from ops.losses.curricularface import CurricularFace
from ops.losses.interclass_filtering import InterclassFiltering
from ops.losses.intra_inter import InterLoss, IntraLoss
from ops.losses.magface import MagFace
from ops.losses.margin import CombinedMargin, Margin
from ops.losses.mv_softmax import MVSoftmax
from ops.losses.options import LossOptions
from ops.losses.sphereface import SphereFace


def _softmax(options: LossOptions) -> None:
    return None


def _combined_margin(options: LossOptions) -> Margin:
    return CombinedMargin(options.loss_m1, options.loss_m2, options.loss_m3, options.easy_margin)


def _arc_loss(options: LossOptions) -> Margin:
    return ArcLoss(options.loss_m2, options.easy_margin)


def _intra(options: LossOptions) -> Margin:
    return IntraLoss(1.0, options.loss_m2, 0.0, options.easy_margin, options.loss_b)


def _inter(options: LossOptions) -> Margin:
    return InterLoss(1.0, options.loss_m2, 0.0, options.easy_margin, options.loss_b)


def _magface(options: LossOptions) -> Margin:
    bounds = (options.loss_l_a, options.loss_u_a, options.loss_l_margin, options.loss_u_margin)
    return MagFace(*bounds, options.loss_lambda_g, options.easy_margin)


def _mv_softmax(options: LossOptions) -> Margin:
    return MVSoftmax(1.0, options.loss_m2, options.loss_m3, options.easy_margin, options.loss_t)


def _circle(options: LossOptions) -> Margin:
    return CircleLoss(options.loss_m3, options.loss_gamma)


def _adaface(options: LossOptions) -> Margin:
    return AdaFace(options.loss_m3, options.loss_h, options.loss_t_alpha)


def _curricularface(options: LossOptions) -> Margin:
    return CurricularFace(options.loss_m2, options.loss_t_alpha)


def _sphereface(options: LossOptions) -> Margin:
    schedule = (getattr(options, f"loss_lambda_{key}") for key in ("base", "gamma", "power", "min", "freeze"))
    return SphereFace(int(options.loss_m1), *schedule)


LOSSES: dict[str, Callable[[LossOptions], Margin | None]] = {
    "softmax": _softmax,
    "margin_softmax": _combined_margin,
    "arc_loss": _arc_loss,
    "mv_softmax": _mv_softmax,
    "circle": _circle,
    "intra": _intra,
    "inter": _inter,
    "magface": _magface,
    "adaface": _adaface,
    "curricularface": _curricularface,
    "sphereface": _sphereface,
}


def build_margin(options: LossOptions) -> Margin | None:
    """Return the margin of the loss ``loss_name``; None is the plain softmax.

    Raises:
        UserError: the loss is unknown; the message lists the known losses.
    """
    margin = lookup(LOSSES, options.loss_name, "loss_name")(options)
    if margin is None or not options.interclass_filtering_threshold:
        return margin
    return InterclassFiltering(margin, options.interclass_filtering_threshold)
