"""All numbers of IJB against the plain loops of tests/support/ijb_reference.py, in every mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.ijb.meta import find_meta
from engine.template_set import IDENTIFICATION, read_template_set
from evaluation.templates.identification import OPEN_RATES, REPORTED
from evaluation.templates.modes import ALL, SUM, Mode, parse_modes
from evaluation.templates.protocol import evaluate_mode
from evaluation.templates.sets import TemplateSet
from tests.support import ijb_reference as reference

SMALL = reference.make_set()
FEATURES = reference.draw_features(SMALL)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TemplateSet:
    return read_template_set(find_meta(SMALL.write(tmp_path_factory.mktemp("IJBC"))))


@pytest.mark.parametrize("mode", [mode for mode in ALL if mode.flip == SUM], ids=str)
def test_verification_and_identification(data: TemplateSet, mode: Mode) -> None:
    templates = reference.template_features(SMALL, FEATURES, mode.keep_norm, mode.detector)
    result = evaluate_mode(data, FEATURES, mode)

    tprs, area = reference.verification(SMALL.pairs, templates)
    assert [point.tpr for point in result.verification.points] == tprs
    assert result.verification.curve.auc == pytest.approx(area, abs=1e-12)
    assert 0.02 < tprs[3] < 0.98  # neither all right nor all wrong
    different = sum(label == 0 for *_, label in SMALL.pairs)
    reachable = [rate * different >= 1 for rate in reference.RATES]
    assert [point.reachable for point in result.verification.points] == reachable and not all(reachable)

    found = result.identification
    ranks, points = reference.closed_set(SMALL, templates)
    assert list(found.closed.rank_rates) == ranks and ranks[0] < ranks[2] < 1
    assert [point.tpir for point in found.closed.points] == [tpir for tpir, _ in points]
    assert [point.threshold for point in found.closed.points] == pytest.approx([th for _, th in points], abs=1e-6)
    counts, tpirs = [], []
    for name, people in SMALL.galleries.items():
        hits, points = reference.open_set(people, SMALL.probes, templates, list(OPEN_RATES))
        assert list(found.open[name].hits) == hits
        assert [point.tpir for point in found.open[name].points] == [tpir for tpir, _ in points]
        assert [point.threshold for point in found.open[name].points] == pytest.approx(
            [th for _, th in points], abs=1e-6
        )
        counts.append(hits)
        tpirs.append([tpir for tpir, _ in points])
    probes = len(set(SMALL.probes))
    assert found.mean_rank_rates == tuple((np.sum(counts, axis=0) / probes).tolist())
    assert [point.tpir for point in found.mean_points] == np.mean(tpirs, axis=0).tolist()


def test_the_reported_rates_are_those_of_ijb_evals() -> None:
    """Its list of 101 rates holds rounded ones: 10 ** -2.0000000000000018 is a bit less than 0.01."""
    assert len(OPEN_RATES) == 101
    np.testing.assert_allclose(REPORTED, [1e-4, 1e-3, 1e-2, 1e-1, 1], rtol=1e-13)
    steps = np.arange(-4, 0, 0.04)
    assert (*(10**power for power in steps), 1) == OPEN_RATES


def test_modes() -> None:
    assert parse_modes("N1D1F2, N0D0F1") == (Mode(), Mode(False, False, 1))
    assert [str(mode) for mode in parse_modes("all")][:3] == ["N1D1F2", "N1D1F0", "N1D0F2"]


def test_ijb_b_has_other_names(tmp_path: Path) -> None:
    small = reference.make_set(3, 8, ("S1", "S2"))
    files = find_meta(small.write(tmp_path / "IJBB", "ijbb").parent)
    data = read_template_set(files, IDENTIFICATION)
    assert (data.target, list(data.galleries), data.pairs) == ("IJBB", ["S1", "S2"], None)
    result = evaluate_mode(data, reference.draw_features(small), Mode())
    assert result.verification is None and result.identification.closed.gallery == 8
