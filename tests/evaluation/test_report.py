"""report.json, roc.png and the console table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import colormaps

from common.errors import UserError
from evaluation.report import format_table, format_thresholds, write_report
from evaluation.verification import verify_distances, verify_embeddings

KEYS = [
    "pairs",
    "accuracy",
    "accuracy_std",
    "fold_accuracies",
    "threshold",
    "xnorm",
    "val",
    "val_std",
    "far",
    "auc",
    "eer",
    "images_per_second",
    "thresholds",
]


@pytest.fixture
def results(hard_set):
    same_only = verify_distances("same_only", np.full(20, 0.3), [True] * 20, 10, xnorm=1.5)
    return [verify_embeddings("hard", *hard_set), same_only]


def read_strictly(path):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_report_json(tmp_path, results):
    about = {
        "model": Path("some") / "model",
        "step": np.int64(5),
        "loss": float("nan"),
        "sizes": (112, 112),
        "ok": True,
    }
    write_report(tmp_path / "new" / "folder", results, {"hard": np.float32(12.5)}, about)
    report = read_strictly(tmp_path / "new" / "folder" / "report.json")
    assert list(report) == ["about", "far_target", "confidence", "bootstrap_samples", "sets"]
    assert report["about"] == {"model": "some/model", "step": 5, "loss": None, "sizes": [112, 112], "ok": True}
    assert report["far_target"] == 0.001
    assert list(report["sets"]) == ["hard", "same_only"]
    hard, same_only = report["sets"].values()
    assert list(hard) == list(same_only) == KEYS
    for key in KEYS[:-2]:
        value = getattr(results[0], key)
        assert hard[key] == (value.tolist() if key == "fold_accuracies" else value)
    assert hard["images_per_second"] == 12.5
    assert [each["far_target"] for each in hard["thresholds"]] == 2 * [0.0001, 0.001, 0.01]
    for each, threshold in zip(hard["thresholds"], results[0].thresholds, strict=True):
        assert each["mirrored"] == threshold.mirrored
        assert each["cosine"] == (threshold.cosine if threshold.is_measured else None)
    assert hard["thresholds"][2]["distance_interval"] == list(results[0].thresholds[2].distance_interval)
    assert same_only["thresholds"][0]["tar_interval"] == [None, None]
    assert same_only["accuracy"] == 1
    assert same_only["images_per_second"] is None
    assert all(same_only[key] is None for key in ("val", "val_std", "far", "auc", "eer"))


def count_pixels(picture, colour):
    """Return how many pixels of each row of a BGR picture have this colour of the cycle."""
    bgr = np.round(255 * np.array(colormaps["tab10"].colors[colour][::-1])).astype(np.uint8)
    return (picture == bgr).all(axis=2).sum(axis=1)


@pytest.mark.parametrize(("sets", "width"), [(1, 1200), (8, 1200), (12, 1650)])
def test_roc_picture(tmp_path, results, sets, width):
    many = [replace(results[number % 2], name=f"set {number}") for number in range(sets)]
    write_report(tmp_path, many, {}, {})
    path = tmp_path / "roc.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    picture = cv2.imread(str(path))
    assert picture.shape == (825, width, 3)
    assert (picture == 255).all(axis=2).mean() > 0.5  # a white ground
    last_drawn = (sets - 1) // 2 * 2  # sets with odd numbers have no curve
    assert count_pixels(picture, last_drawn % 10).sum() > 500
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.json", "roc.png"]


def test_the_picture_has_steps_and_not_slopes(tmp_path):
    """A same and a different pair are equally far: a slope towards their point would promise too much."""
    result = verify_distances("four", np.array([0.1, 0.5, 0.5, 2.0]), [True, False, True, False], 2, xnorm=1.0)
    write_report(tmp_path, [result], {}, {})
    picture = cv2.imread(str(tmp_path / "roc.png"))
    rows = np.flatnonzero(count_pixels(picture, 0) > 50)
    assert len(rows) <= 10  # two flat runs, each a few pixels thick
    assert rows.max() - rows.min() > 250


def test_an_older_report_survives_a_failure(tmp_path, results):
    write_report(tmp_path, results, {}, {"run": 1})
    with pytest.raises(UserError, match="hard occur more than once"):
        write_report(tmp_path, [results[0], results[0]], {}, {"run": 2})
    with pytest.raises(UserError, match="no verification result"):
        write_report(tmp_path, [], {}, {"run": 2})
    assert read_strictly(tmp_path / "report.json")["about"] == {"run": 1}


def test_table_is_aligned(results):
    lines = format_table(results).split("\n")
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    hard, same_only = lines[1:]
    assert hard.startswith("hard ")
    accuracy, std = results[0].accuracy, results[0].accuracy_std
    assert f" {100 * accuracy:.3f} +- {100 * std:.3f} " in hard
    assert same_only.split() == ["same_only", "20", "100.000", "+-", "0.000", "1.500", "-", "-", "0.310", "-", "-"]


def test_table_of_thresholds(results):
    title, heading, *lines = format_thresholds(results).split("\n")
    assert "95 %" in title
    assert len({len(line) for line in (heading, *lines)}) == 1 and len(lines) == 9
    found = results[0].thresholds[5]
    assert lines[5].startswith("hard") and "image alone" in lines[5]
    assert f"{found.cosine:.3f} ({found.cosine_interval[0]:.3f} to {found.cosine_interval[1]:.3f})" in lines[5]
    assert lines[0].split()[-3:] == ["-", "-", "-"]
    assert format_thresholds([replace(results[0], thresholds=())]) == ""
