"""The losses by name: from the settings of a run to what they do to cosines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import lookup
from ops.losses.adaface import AdaFace
from ops.losses.arc_loss import ArcLoss
from ops.losses.curricularface import CurricularFace
from ops.losses.interclass_filtering import InterclassFiltering
from ops.losses.intra_inter import InterLoss, IntraLoss
from ops.losses.margin import CombinedMargin, Margin
from ops.losses.sphereface import SphereFace


def _combined_margin(config: Mapping[str, Any]) -> Margin:
    return CombinedMargin(config["loss_m1"], config["loss_m2"], config["loss_m3"], config["easy_margin"])


def _arc_loss(config: Mapping[str, Any]) -> Margin:
    return ArcLoss(config["loss_m2"], config["easy_margin"])


def _sphereface(config: Mapping[str, Any]) -> Margin:
    schedule = (config[f"loss_lambda_{key}"] for key in ("base", "gamma", "power", "min", "freeze"))
    return SphereFace(int(config["loss_m1"]), *schedule)


def _curricularface(config: Mapping[str, Any]) -> Margin:
    return CurricularFace(config["loss_m2"], config["loss_t_alpha"])


def _adaface(config: Mapping[str, Any]) -> Margin:
    return AdaFace(config["loss_m3"], config["loss_h"], config["loss_t_alpha"])


def _intra(config: Mapping[str, Any]) -> Margin:
    return IntraLoss(1.0, config["loss_m2"], 0.0, config["easy_margin"], config["loss_b"])


def _inter(config: Mapping[str, Any]) -> Margin:
    return InterLoss(1.0, config["loss_m2"], 0.0, config["easy_margin"], config["loss_b"])


LOSSES = {
    "softmax": lambda _: None,
    "margin_softmax": _combined_margin,
    "arc_loss": _arc_loss,
    "sphereface": _sphereface,
    "curricularface": _curricularface,
    "adaface": _adaface,
    "intra": _intra,
    "inter": _inter,
}


def build_margin(config: Mapping[str, Any]) -> Margin | None:
    """Return what the loss ``loss_name`` does to cosines; None is the plain softmax.

    Raises:
        UserError: the loss is unknown; the message lists the known ones.
    """
    margin = lookup(LOSSES, config["loss_name"], "loss_name")(config)
    if margin is None or not config["interclass_filtering_threshold"]:
        return margin
    return InterclassFiltering(margin, config["interclass_filtering_threshold"])
