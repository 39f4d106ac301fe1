"""The losses by name, from simple to difficult, each built from the settings."""

from __future__ import annotations

from collections.abc import Callable

from common.errors import lookup
from ops.losses.adacos import AdaCos
from ops.losses.adaface import AdaFace
from ops.losses.arc_loss import ArcLoss
from ops.losses.circle import CircleLoss
from ops.losses.curricularface import CurricularFace
from ops.losses.dynamic_arcface import DynamicArcFace, margins_by_size
from ops.losses.elasticface import ElasticFace
from ops.losses.interclass_filtering import InterclassFiltering
from ops.losses.intra_inter import InterLoss, IntraLoss
from ops.losses.magface import MagFace
from ops.losses.margin import CombinedMargin, Margin
from ops.losses.mv_softmax import MVSoftmax
from ops.losses.options import Classes, LossOptions
from ops.losses.sphereface import SphereFace
from ops.losses.uniface import UniFace


def _softmax(options: LossOptions, classes: Classes) -> None:
    return None


def _combined_margin(options: LossOptions, classes: Classes) -> Margin:
    return CombinedMargin(options.loss_m1, options.loss_m2, options.loss_m3, options.easy_margin)


def _arc_loss(options: LossOptions, classes: Classes) -> Margin:
    return ArcLoss(options.loss_m2, options.easy_margin)


def _intra(options: LossOptions, classes: Classes) -> Margin:
    return IntraLoss(1.0, options.loss_m2, 0.0, options.easy_margin, options.loss_b)


def _inter(options: LossOptions, classes: Classes) -> Margin:
    return InterLoss(1.0, options.loss_m2, 0.0, options.easy_margin, options.loss_b)


def _magface(options: LossOptions, classes: Classes) -> Margin:
    bounds = (options.loss_l_a, options.loss_u_a, options.loss_l_margin, options.loss_u_margin)
    return MagFace(*bounds, options.loss_lambda_g, options.easy_margin)


def _mv_softmax(options: LossOptions, classes: Classes) -> Margin:
    return MVSoftmax(1.0, options.loss_m2, options.loss_m3, options.easy_margin, options.loss_t)


def _circle(options: LossOptions, classes: Classes) -> Margin:
    return CircleLoss(options.loss_m3, options.loss_gamma)


def _elastic(options: LossOptions, classes: Classes) -> Margin:
    return ElasticFace(options.loss_m2, options.loss_m3, options.loss_std, options.loss_plus, classes.seed)


def _dynamic_arcface(options: LossOptions, classes: Classes) -> Margin:
    if classes.sizes is None:
        return DynamicArcFace(None)
    bounds = (options.loss_m_min, options.loss_m_max)
    return DynamicArcFace(margins_by_size(classes.sizes, *bounds, options.loss_m_power))


def _adacos(options: LossOptions, classes: Classes) -> Margin:
    return AdaCos(classes.in_step)


def _uniface(options: LossOptions, classes: Classes) -> Margin:
    return UniFace(options.loss_m3, options.loss_l, classes.in_step)


def _adaface(options: LossOptions, classes: Classes) -> Margin:
    return AdaFace(options.loss_m3, options.loss_h, options.loss_t_alpha)


def _curricularface(options: LossOptions, classes: Classes) -> Margin:
    return CurricularFace(options.loss_m2, options.loss_t_alpha)


def _sphereface(options: LossOptions, classes: Classes) -> Margin:
    schedule = (getattr(options, f"loss_lambda_{key}") for key in ("base", "gamma", "power", "min", "freeze"))
    return SphereFace(int(options.loss_m1), *schedule)


LOSSES: dict[str, Callable[[LossOptions, Classes], Margin | None]] = {
    "softmax": _softmax,
    "margin_softmax": _combined_margin,
    "arc_loss": _arc_loss,
    "elasticface": _elastic,
    "dynamic_arcface": _dynamic_arcface,
    "adacos": _adacos,
    "mv_softmax": _mv_softmax,
    "circle": _circle,
    "intra": _intra,
    "inter": _inter,
    "magface": _magface,
    "adaface": _adaface,
    "curricularface": _curricularface,
    "sphereface": _sphereface,
    "uniface": _uniface,
}


def build_margin(options: LossOptions, classes: Classes | None = None) -> Margin | None:
    """Return the margin of the loss ``loss_name``; None is the plain softmax.

    ``classes``: what some losses take into account; without it they can be built, but not trained.

    Raises:
        UserError: the loss is unknown; the message lists the known losses.
    """
    margin = lookup(LOSSES, options.loss_name, "loss_name")(options, classes or Classes())
    if margin is None or not options.interclass_filtering_threshold:
        return margin
    return InterclassFiltering(margin, options.interclass_filtering_threshold)
