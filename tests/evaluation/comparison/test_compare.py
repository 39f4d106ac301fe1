"""Comparisons against plain resampling, and what the tables say."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from common.errors import UserError
from evaluation.comparison.compare import compare_models
from evaluation.comparison.page import Picture, render_page
from evaluation.comparison.paired_bootstrap import difference, resample_accuracies, resample_tars
from evaluation.comparison.published import PUBLISHED
from evaluation.comparison.tables import CSV_COLUMNS, format_comparison, format_markdown, write_csv, write_json
from evaluation.far_thresholds import find_thresholds
from evaluation.verification import verify_embeddings


@pytest.fixture(scope="module")
def issame() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.arange(203) % 2 == 0)


@pytest.fixture(scope="module")
def comparison_input(issame):
    """Results of three models on two sets; the second model is the first with more noise, the third is noise."""
    rng = np.random.default_rng(3)
    people = rng.normal(size=(203, 8))
    clean = np.stack([people, np.where(issame[:, None], people, rng.normal(size=people.shape))], 1).reshape(-1, 8)
    first = clean + 0.5 * rng.normal(size=clean.shape)
    rows = {
        "a/good": first,
        "a/fair": first + 0.6 * rng.normal(size=clean.shape),
        "noise": rng.normal(size=clean.shape),
    }
    return {
        model: [
            verify_embeddings(name, each + shift, each, issame, 7, [0.05]) for name, shift in (("lfw", 0), ("b", 1))
        ]
        for model, each in rows.items()
    }


def test_resampled_accuracies_have_the_right_mean_and_deviation():
    rng = np.random.default_rng(1)
    correct = rng.random((2, 47)) < [[0.9], [0.6]]
    samples = resample_accuracies(correct, 5, 4000)
    folds = np.array_split(np.arange(47), 5)
    means = np.array([[correct[model, fold].mean() for fold in folds] for model in range(2)])
    np.testing.assert_allclose(samples.mean(axis=0), means.mean(axis=1), atol=0.005)
    variance = (means * (1 - means) / [len(fold) for fold in folds]).sum(axis=1) / 25
    np.testing.assert_allclose(samples.std(axis=0), np.sqrt(variance), rtol=0.06)
    assert np.array_equal(samples, resample_accuracies(correct, 5, 4000))


def test_a_pair_counts_for_all_models_in_a_resample():
    correct = np.stack([np.arange(40) % 4 > 0] * 2)
    samples = resample_accuracies(correct, 4, 300)
    assert np.array_equal(samples[:, 0], samples[:, 1])
    found = difference(np.array([0.75, 0.75]), samples, 0, 1)
    assert (found.value, found.interval, found.is_clear) == (0, (0, 0), False)


def test_resampled_tars_against_a_loop():
    rng = np.random.default_rng(2)
    issame = np.arange(90) % 3 > 0
    distances = np.round(np.where(issame, 1.0, 1.6) + 0.4 * rng.normal(size=(2, 90)), 1)  # many ties
    found = resample_tars(distances, issame, 0.1, 70)
    rng = np.random.default_rng(0)
    expected = []
    for size in (64, 6):  # as they are drawn
        different, same = rng.integers(0, 30, (size, 30)), rng.integers(0, 60, (size, 60))
        for of_different, of_same in zip(different, same, strict=True):
            row = []
            for model in distances:
                drawn = np.r_[model[issame][of_same], model[~issame][of_different]]
                (threshold,) = find_thresholds(drawn, np.arange(90) < 60, [0.1])
                row.append(threshold.tar)
            expected.append(row)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_comparison_marks_the_best_and_what_differs(comparison_input, issame):
    comparison = compare_models(comparison_input, [issame] * 2, [1e-4, 0.05])
    assert [measure.name for measure in comparison.measures] == ["accuracy", "TAR at FAR 0.05"]
    accuracy = comparison.measures[0]
    for place, name in enumerate(comparison.sets):
        cells = accuracy.cells[name]
        assert [cells[model].is_best for model in comparison.models] == [True, False, False]
        assert cells["a/good"].to_best is None and cells["noise"].to_best.is_clear
        for model, results in comparison_input.items():
            assert cells[model].value == results[place].accuracy and cells[model].std == results[place].accuracy_std
        low, high = cells["noise"].to_best.interval
        assert low < cells["noise"].to_best.value < high < 0
        assert set(accuracy.differences[name]) == {("a/fair", "a/good"), ("noise", "a/good"), ("noise", "a/fair")}
    tar = comparison.measures[1].cells["lfw"]["a/fair"]
    assert tar.value == comparison_input["a/fair"][0].thresholds[0].tar and np.isnan(tar.std)


def test_tables_agree(comparison_input, issame):
    comparison = compare_models(comparison_input, [issame] * 2, [0.05], PUBLISHED)
    good, noise = (comparison.measures[0].cells["lfw"][model] for model in ("a/good", "noise"))
    text, page = format_comparison(comparison), format_markdown(comparison)
    assert f"{100 * good.value:.2f} +- {100 * good.std:.2f} *" in text
    assert f"**{100 * good.value:.2f} +- {100 * good.std:.2f}**" in page
    low, high = noise.to_best.interval
    assert f"({100 * noise.to_best.value:+.2f}; {100 * low:+.2f} to {100 * high:+.2f})" in text
    assert "| MobileFaceNet (published) | 99.45 | - |" in page and "not measured here" in page
    handle = io.StringIO()
    write_csv(handle, comparison)
    rows = list(csv.DictReader(io.StringIO(handle.getvalue())))
    assert tuple(rows[0]) == CSV_COLUMNS and len(rows) == 2 * 2 * 3 + 4
    assert float(rows[0]["value"]) == good.value and rows[0]["best"] == "1"
    assert {row["origin"] for row in rows} == {"measured", "published"}
    handle = io.StringIO()
    write_json(handle, comparison)
    document = json.loads(handle.getvalue())
    assert document["measures"][0]["values"]["lfw"]["a/good"]["value"] == good.value
    found = {(each["first"], each["second"]): each for each in document["measures"][0]["differences"]["lfw"]}
    assert found["noise", "a/good"]["interval"] == [low, high] and found["noise", "a/good"]["clear"] is True
    assert document["measures"][1]["values"]["lfw"]["noise"]["std"] is None


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_page_is_one_file_without_scripts(comparison_input, issame):
    named = {f"<{model}>&": results for model, results in comparison_input.items()}
    comparison = compare_models(named, [issame] * 2, [0.05], PUBLISHED)
    png = b"\x89PNG\r\n\x1a\n123"
    page = render_page(comparison, [Picture("curves <1>", png), Picture("cases", b"\xff\xd8")], [("groups", "a < b")])
    tags = Tags()
    tags.feed(page)
    assert not {tag for tag, _ in tags.seen} & {"script", "link", "iframe", "object"}
    assert [attrs["src"].split(",")[0] for tag, attrs in tags.seen if tag == "img"] == [
        "data:image/png;base64",
        "data:image/jpeg;base64",
    ]
    assert "http" not in page and "&lt;a/good&gt;&amp;" in page and "a &lt; b" in page
    assert len(re.findall('class="best"', page)) == 4 and 'class="worse"' in page


def test_models_need_the_same_sets(comparison_input, issame):
    mixed = {"a": comparison_input["noise"], "b": comparison_input["noise"][:1]}
    with pytest.raises(UserError, match="same sets"):
        compare_models(mixed, [issame] * 2, [0.05])
