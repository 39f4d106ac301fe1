"""Corner cases of the search: ties, people who are missing, galleries that do not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.errors import UserError
from evaluation.templates import identification
from evaluation.templates.identification import Identification, identify
from evaluation.templates.sets import TemplatePeople


def people(*pairs: tuple[int, int]) -> TemplatePeople:
    return TemplatePeople(*np.array(pairs).T)


def unit(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def search(first: list[float], second: list[float], probes: list[float], probe_people: list[int]) -> Identification:
    """Search probes in galleries of people 1, 2, ... and 11, 12, ..., all at angles in a plane."""
    galleries = {
        "G1": people(*((10 + number, number + 1) for number in range(len(first)))),
        "G2": people(*((30 + number, number + 11) for number in range(len(second)))),
    }
    features = {"G1": unit(*first), "G2": unit(*second), "probes": unit(*probes)}
    return identify(features, galleries, people(*((50 + place, person) for place, person in enumerate(probe_people))))


def test_equal_scores_come_in_the_order_of_the_gallery_and_reversed() -> None:
    found = search([0, 0, 90], [45, 60], [0, 0], [1, 2])
    assert found.closed.hits == (1, 2, 2)  # argsort(-scores): of equal ones the first
    assert found.open["G1"].hits == (1, 2, 2)  # argsort(scores)[::-1]: the last
    found = search([0, 90, 100], [0, 60], [0], [1])
    assert found.closed.hits == (1, 1, 1)


def test_a_threshold_is_strict_and_the_best_wrong_one_counts_in_the_open_set() -> None:
    # Probes of G1's people at 10 and 80 degrees; a stranger to it at 20, whose best score, cos 20, is the threshold.
    found = search([0, 90], [20], [10, 70, 20], [1, 2, 11])
    point = found.open["G1"].points[-1]
    assert point.threshold == pytest.approx(np.cos(np.radians(20)))
    assert (point.tpir, found.open["G1"].others) == (0.5, 1)  # cos 10 is above it; cos 20 is not above itself


def test_nobody_is_unknown() -> None:
    found = search([0, 90], [180], [10, 80], [1, 2])
    assert all(math.isnan(point.tpir) for point in found.open["G1"].points)
    assert math.isnan(found.open["G2"].rank_rates[0]) and math.isnan(found.mean_points[0].tpir)
    assert found.closed.rank_rates == (1, 1, 1)


def test_blocks_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    angles, who = rng.uniform(0, 360, 50).tolist(), [1 + number % 9 for number in range(50)]
    first = rng.uniform(0, 360, 9).tolist()
    whole = search(first, [5, 7], angles, who)
    monkeypatch.setattr(identification, "_MATRIX", 30)
    parts = search(first, [5, 7], angles, who)
    assert whole.closed.hits == parts.closed.hits and whole.open["G1"].hits == parts.open["G1"].hits
    for one, other in zip(whole.closed.points, parts.closed.points, strict=True):
        assert (one.tpir, one.threshold) == pytest.approx((other.tpir, other.threshold), abs=1e-12)


def test_people_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="subject 7 of the probes and 1 other probes are in no gallery"):
        search([0], [90], [0, 5, 6], [1, 7, 8])
    features = {"G1": unit(0), "G2": unit(90), "probes": unit(0)}
    with pytest.raises(UserError, match="subject 1 and 0 others are in the galleries G1 and G2 more than once"):
        identify(features, {"G1": people((1, 1)), "G2": people((2, 1))}, people((3, 1)))
