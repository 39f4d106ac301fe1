from __future__ import annotations

import pytest

import sample_config
from common.errors import UserError
from ops.heads.triplet import DISTANCES
from ops.losses.options import LossOptions
from ops.losses.registry import LOSSES, build_margin
from settings import choices
from settings.choices import TRIPLET_LOSSES


def test_the_losses_are_those_that_settings_may_name() -> None:
    known = set(LOSSES) | set(DISTANCES)
    assert set(choices.LOSSES) == known == {entry["loss_name"] for entry in sample_config.loss.values()}
    assert set(TRIPLET_LOSSES) == set(DISTANCES)


def test_an_unknown_loss_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(UserError, match="unknown loss_name 'npair'; known: adacos, adaface, .*softmax"):
        build_margin(LossOptions("npair"))
