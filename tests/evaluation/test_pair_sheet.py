"""The sheet of pairs: which pairs it shows, and what stands below them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from evaluation.pair_sheet import ACCEPTED, MISTAKEN, draw_pairs, spread_pairs
from evaluation.report import write_report
from evaluation.verification import verify_distances


def make_set(name: str, issame: np.ndarray) -> SimpleNamespace:
    images = np.full((2, 3, 16, 16), 128, np.uint8)
    return SimpleNamespace(name=name, images=images, index=np.tile([0, 1], len(issame)), issame=issame)


def count_pixels(path: Path, colour: str) -> int:
    picture = cv2.imread(str(path))
    bgr = np.round(255 * np.array(to_rgb(colour)[::-1])).astype(np.uint8)
    return int((picture == bgr).all(axis=2).sum())


def test_spread_pairs_holds_both_ends() -> None:
    distances = np.array([3.0, 0.5, 1.0, 0.1, 2.0, 0.2, 0.7])
    wanted = np.array([True, True, True, True, True, False, True])
    assert spread_pairs(distances, wanted, 4).tolist() == [3, 6, 2, 0]
    assert spread_pairs(distances, wanted, 2).tolist() == [3, 0]
    assert spread_pairs(distances, wanted, 10).tolist() == [3, 1, 6, 2, 4, 0]


def test_equal_distances_keep_the_order_of_the_file() -> None:
    assert spread_pairs(np.ones(4), np.ones(4, bool), 4).tolist() == [0, 1, 2, 3]


def test_no_pair_of_a_kind() -> None:
    assert spread_pairs(np.ones(4), np.zeros(4, bool), 5).tolist() == []


@pytest.mark.parametrize("mistakes", [False, True])
def test_colours_say_which_pairs_are_right(tmp_path: Path, mistakes: bool) -> None:
    issame = np.arange(40) % 2 == 0
    distances = np.where(issame, 0.5, 2.5)
    if mistakes:
        distances[0] = 3.5  # a same pair that looks different
    result = verify_distances("faces", distances, issame, 10, xnorm=1.0)
    with open(tmp_path / "pairs.png", "wb") as handle:
        draw_pairs(handle, [result], [make_set("faces", issame)])
    assert count_pixels(tmp_path / "pairs.png", ACCEPTED) > 0
    assert (count_pixels(tmp_path / "pairs.png", MISTAKEN) > 0) == mistakes


def test_a_set_of_one_kind_is_drawn(tmp_path: Path) -> None:
    issame = np.ones(20, bool)
    result = verify_distances("same_only", np.full(20, 0.3), issame, 10, xnorm=1.0)
    with open(tmp_path / "pairs.png", "wb") as handle:
        draw_pairs(handle, [result], [make_set("same_only", issame)])
    assert count_pixels(tmp_path / "pairs.png", MISTAKEN) == 0


def test_report_holds_pairs_where_the_images_are_given(tmp_path: Path) -> None:
    issame = np.arange(40) % 2 == 0
    results = [verify_distances(name, np.where(issame, 0.5, 2.5), issame, 10, xnorm=1.0) for name in ("a", "b")]
    write_report(tmp_path / "without", results, {}, {})
    assert not (tmp_path / "without" / "pairs.png").exists()
    write_report(tmp_path / "with", results, {}, {}, [make_set("a", issame), make_set("b", issame)])
    height, width, _ = cv2.imread(str(tmp_path / "with" / "pairs.png")).shape
    assert width == 900
    assert height > 450
