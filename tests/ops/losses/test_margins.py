"""Margins of single images: those that are drawn, and those by the size of the class."""

from __future__ import annotations

import numpy as np
import pytest

from ops.losses.dynamic_arcface import margins_by_size
from ops.losses.options import Classes, LossOptions
from ops.losses.registry import build_margin

LABELS = np.zeros(6000, np.int32)


def draw(step: int = 3, first: int = 0, count: int = 6000, seed: int = 1) -> np.ndarray:
    options = LossOptions("elasticface", loss_m2=0.5, loss_std=0.05)
    return build_margin(options, Classes(seed=seed)).image_margins(LABELS[:count], step, first)


def test_margins_are_drawn_with_the_wanted_mean_and_deviation() -> None:
    margins = draw()
    assert margins.dtype == np.float32
    assert abs(margins.mean() - 0.5) < 0.002 and abs(margins.std() - 0.05) < 0.002


def test_each_rank_draws_its_part_and_each_step_and_seed_others() -> None:
    whole = draw(count=12)
    np.testing.assert_array_equal(np.concatenate([draw(first=first, count=4) for first in (0, 4, 8)]), whole)
    assert not (draw(step=4, count=12) == whole).any() and not (draw(seed=2, count=12) == whole).any()


def test_rare_classes_have_the_larger_margins() -> None:
    margins = margins_by_size(np.array([16, 1, 0, 81]), 0.1, 0.5, 0.25)  # 1/2, 1, -, 1/3
    np.testing.assert_allclose(margins, [0.2, 0.5, 0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(margins_by_size(np.array([5, 0, 5]), 0.1, 0.5, 0.25), 0.5)


def test_a_head_without_the_sizes_of_its_classes_says_what_is_missing() -> None:
    margin = build_margin(LossOptions("dynamic_arcface"))
    with pytest.raises(ValueError, match="give the head class_sizes"):
        margin.image_margins(LABELS, 0, 0)
