"""Thresholds out of a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from evaluation.report import write_report
from evaluation.report_threshold import read_threshold
from evaluation.verification import VerificationResult, verify_embeddings


@pytest.fixture(scope="module")
def result() -> VerificationResult:
    rng = np.random.default_rng(0)
    plain, flipped = (rng.normal(size=(800, 8)).astype(np.float32) for _ in range(2))
    return verify_embeddings("orl", plain, flipped, np.arange(400) % 2 == 0, 10, [0.001, 0.01, 0.1])


@pytest.fixture(scope="module")
def report(result: VerificationResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, [result], {}, {"checksum": "abc", "model": "m"})
    return folder


def test_the_threshold_of_each_embedding_and_rate(report: Path, result: VerificationResult) -> None:
    smallest, single = read_threshold(report, True), read_threshold(report / "report.json", False)
    assert (smallest.cosine, single.cosine) == (result.thresholds[1].cosine, result.thresholds[4].cosine)
    low, high = result.thresholds[1].cosine_interval
    assert smallest.origin == f"{report}/report.json: set orl, FAR 0.01, 95 % interval {low:.4f} to {high:.4f}"
    assert read_threshold(report, True, "orl", 0.1, {"checksum": "abc"}).cosine == result.thresholds[2].cosine
    exported = {"checksum": "onnx", "exported_from": "abc"}
    assert read_threshold(report, True, model=exported).cosine == smallest.cosine


def test_a_set_too_small_for_any_rate_gives_that_of_the_accuracy(tmp_path: Path, result: VerificationResult) -> None:
    small = verify_embeddings("few", *(np.random.default_rng(1).normal(size=(2, 40, 8))), np.arange(20) % 2 == 0, 10)
    write_report(tmp_path, [small], {}, {})
    found = read_threshold(tmp_path, True)
    assert found.cosine == 1 - small.threshold / 2
    assert "set few, best accuracy; its 20 pairs are too few for a false accept rate" in found.origin
    with pytest.raises(UserError, match="has no threshold for a false accept rate without the mirrored image"):
        read_threshold(tmp_path, False)


def test_what_is_not_there(report: Path, tmp_path: Path, result: VerificationResult) -> None:
    for arguments, message in (
        ((True, "", 0.001), r"set orl has no threshold for FAR 0\.001 with the mirrored image \(it has: 0\.01, 0\.1\)"),
        ((True, "", 0.5), r"for FAR 0\.5"),
        ((True, "lfw"), r"unknown set of .*report\.json 'lfw'; known: orl"),
        ((True, "", None, {"checksum": "abd"}), r"is the report of another model, m; verify this one"),
    ):
        with pytest.raises(UserError, match=message):
            read_threshold(report, *arguments)
    with pytest.raises(UserError, match="absent does not exist; write it with insightface_val.py --report DIR"):
        read_threshold(tmp_path / "absent", True)
    for text in ("{", "[]", "{}", '{"sets": {}, "about": {}}', '{"sets": {"orl": {"pairs": 3}}, "about": {}}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(UserError, match="damaged or not a report with thresholds; verify the model again"):
            read_threshold(tmp_path, True)
    written = json.loads((report / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps({**written, "sets": {"b": {}, **written["sets"]}}))
    with pytest.raises(UserError, match="has the sets b, orl; choose one with --set"):
        read_threshold(tmp_path, True)
    assert read_threshold(tmp_path, True, "orl").cosine == result.thresholds[1].cosine
