from __future__ import annotations

import numpy as np

from backbones.graph.masks import Mask, draw_keep_masks


def test_rows_depend_on_their_position_alone() -> None:
    whole = draw_keep_masks(3, 100, 8, [Mask(0, 50, 0.4)])
    np.testing.assert_array_equal(whole[2:5], draw_keep_masks(3, 102, 3, [Mask(0, 50, 0.4)]))
    assert whole.dtype == np.uint8 and whole.shape == (8, 50)
    assert len({row.tobytes() for row in whole}) == 8


def test_seeds_and_positions_differ() -> None:
    assert (draw_keep_masks(3, 0, 1, [Mask(0, 64, 0.4)]) != draw_keep_masks(4, 0, 1, [Mask(0, 64, 0.4)])).any()
    assert (draw_keep_masks(3, 0, 1, [Mask(0, 64, 0.4)]) != draw_keep_masks(3, 1, 1, [Mask(0, 64, 0.4)])).any()


def test_share_of_kept_values() -> None:
    kept = draw_keep_masks(1, 0, 20, [Mask(0, 20000, 0.4)])
    assert set(np.unique(kept)) == {0, 1}
    assert abs(kept.mean() - 0.6) < 4 * np.sqrt(0.24 / kept.size)
    assert draw_keep_masks(1, 0, 2, [Mask(0, 100, 0.0)]).all()


def test_without_dropout_there_is_a_dummy_column() -> None:
    assert draw_keep_masks(1, 0, 5, []).shape == (5, 1)


def test_each_mask_has_its_share_and_its_columns() -> None:
    kept = draw_keep_masks(1, 0, 400, [Mask(0, 1, 0.0), Mask(1, 51, 0.5), Mask(51, 61, 0.2, exact=True)])
    assert kept[:, 0].all()
    assert abs(kept[:, 1:51].mean() - 0.5) < 4 * np.sqrt(0.25 / (400 * 50))
    assert (kept[:, 51:].sum(axis=1) == 8).all()
    assert 0 < kept[:, 51].mean() < 1
    alone = draw_keep_masks(1, 0, 400, [Mask(0, 51, 0.5)])
    np.testing.assert_array_equal(kept[:, 1:51], alone[:, 1:])
