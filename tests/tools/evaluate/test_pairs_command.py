"""tools/evaluate/pairs.py on files of embeddings, as a user runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.image import encode_jpeg
from data.verification.bin_file import write_bin
from evaluation.embedding_store import write_store
from evaluation.verification import verify_embeddings
from tools.evaluate import pairs

PAIRS, SIZE = 60, 16
ISSAME = np.arange(PAIRS) % 2 == 0


def rows_of(model: str, name: str) -> np.ndarray:
    rng = np.random.default_rng(["good", "bad"].index(model) + 10 * ord(name))
    people = rng.normal(size=(PAIRS, 8))
    both = np.stack([people, np.where(ISSAME[:, None], people, rng.normal(size=people.shape))], 1).reshape(-1, 8)
    return (both + (0.4 if model == "good" else 2.0) * rng.normal(size=both.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings of the sets a and b by two models, and the .bin of a."""
    folder = tmp_path_factory.mktemp("pairs")
    faces = np.random.default_rng(0).integers(0, 256, (2 * PAIRS, SIZE, SIZE, 3), np.uint8)
    write_bin(folder / "a.bin", [encode_jpeg(face) for face in faces], ISSAME.tolist())
    for model in ("good", "bad"):
        for name in "ab":
            rows = rows_of(model, name)
            about = {"format": "face embeddings", "version": 1, "model": f"{model}.onnx", "model_sha256": model}
            about |= {"source": str(folder / f"{name}.bin"), "source_sha256": name, "mirrored": True, "step": 7}
            about |= {"emb_size": 8, "dtype": "float32", "input": {"height": SIZE, "width": SIZE}}
            norms, names = np.linalg.norm(rows, axis=1), map(str, range(2 * PAIRS))
            write_store(folder / f"{model}_{name}.npz", [rows], norms, names, about, None, ISSAME)
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def run(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(sys, "argv", ["pairs.py", "--far_targets", "0.1", *line.split()])
    pairs.main()


def test_one_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(monkeypatch, f"--embeddings good_a.npz --output {tmp_path} --bad_cases 2")
    rows = rows_of("good", "a")
    expected = verify_embeddings("a", rows, np.zeros_like(rows), ISSAME, 10, [0.1])  # the sum is the stored row
    said = capsys.readouterr().out
    assert f"[a][7]Accuracy-Flip: {expected.accuracy:.5f}+-{expected.accuracy_std:.5f}" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["about"]["checksum"] == "good"
    found = report["sets"]["a"]
    assert found["accuracy"] == expected.accuracy and found["thresholds"][0]["cosine"] == expected.thresholds[0].cosine
    assert found["xnorm"] == pytest.approx(np.linalg.norm(rows.astype(float), axis=1).mean())
    names = ["bad_cases.jpg", "histogram.png", "pairs.png", "report.json", "roc.png", "scores.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_two_models_on_two_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = "good_b.npz good_a.npz bad_a.npz bad_b.npz"  # the order of the first model's sets holds
    run(monkeypatch, f"--embeddings {files} --output {tmp_path}")
    document = json.loads((tmp_path / "comparison.json").read_text())
    assert (document["models"], document["sets"]) == (["good.onnx", "bad.onnx"], ["b", "a"])
    for name in "ab":
        for model in ("good", "bad"):
            rows = rows_of(model, name)
            expected = verify_embeddings(name, rows, np.zeros_like(rows), ISSAME, 10, [0.1]).accuracy
            assert document["measures"][0]["values"][name][f"{model}.onnx"]["value"] == expected
    assert {path.name for path in tmp_path.iterdir()} >= {"good.onnx", "bad.onnx", "comparison.html"}


def test_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(pairs, "write_model_report", lambda *_: None)  # pictures take seconds
    run(monkeypatch, f"--embeddings good_a.npz good_b.npz bad_a.npz bad_b.npz --groups sets --output {tmp_path}")
    assert capsys.readouterr().out.count("false accepts between groups at one threshold") == 2
    found = json.loads((tmp_path / "bad.onnx" / "groups.json").read_text())
    rows = {name: rows_of("bad", name).astype(float) for name in "ab"}
    for values in rows.values():
        values /= np.linalg.norm(values, axis=1, keepdims=True)
    rate = found["rates"][0]
    different = {name: (values[0::2] * values[1::2]).sum(1)[~ISSAME] for name, values in rows.items()}
    same = {name: (values[0::2] * values[1::2]).sum(1)[ISSAME] for name, values in rows.items()}
    # FAR 0.1 of 60 pairs of different people: the cosine of the seventh.
    limit = np.sort(np.concatenate([*different.values()]))[::-1][6]
    assert rate["cosine"] == pytest.approx(limit, abs=1e-12)
    for name in "ab":
        assert rate["tar"][name] == np.mean(same[name] > limit + 1e-12)
        assert rate["false_accepts"][name][name] == np.sum(different[name] > limit + 1e-12)
    across = rows["a"] @ rows["b"].T
    assert rate["compared"]["a"]["b"] == across.size
    assert rate["false_accepts"]["b"]["a"] == np.sum(across > limit + 1e-12)
    assert "good.onnx: groups" in (tmp_path / "comparison.html").read_text()
    # Of a file: each image by its number.
    lines = [f"{number} {'young' if number < 40 else 'old'}" for number in range(2 * PAIRS)]
    (tmp_path / "groups.txt").write_text("\n".join(lines))
    run(monkeypatch, f"--embeddings good_a.npz --groups {tmp_path}/groups.txt --output {tmp_path}/one")
    found = json.loads((tmp_path / "one" / "groups.json").read_text())["groups"]
    assert {name: (group["same"], group["different"]) for name, group in found.items()} == {
        "young": (10, 10),
        "old": (20, 20),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "good_a.npz bad_b.npz",
            r"bad.onnx has embeddings of .*/b.bin, and good.onnx of .*/a.bin: compare the same sets",
        ),
        ("good_a.npz good_a.npz", "good.onnx: two files have the same set"),
        ("none.npz", "none.npz is not a file"),
        (
            "good_b.npz --output out --bad_cases 1",
            "b.bin, which good_b.npz was made of, is not there; omit --bad_cases",
        ),
        ("good_b.npz --bad_cases 1", "--bad_cases 1 needs --output DIR"),
        ("good_b.npz --nrof_folds 61", "only 60 pairs for 61 folds"),
        ("good_b.npz --far_targets x", "--far_targets x must be numbers"),
        ("good_b.npz --groups none.txt", "--groups none.txt cannot be read"),
        ("good_b.npz --groups sets", "--groups sets compares sets, and --embeddings has b alone"),
        ("good_b.npz --group_pairs pairs.txt", "--group_pairs pairs.txt needs --groups FILE"),
        ("good_a.npz good_b.npz --groups g --group_pairs p", "--group_pairs p names the images of one set"),
    ],
)
def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch, folder: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run(monkeypatch, f"--embeddings {line}")
    assert "\n" not in str(caught.value) and not (folder / "out").exists()


def test_embeddings_that_cannot_be_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = rows_of("good", "a")
    rows[3, 2] = np.nan
    about = {"format": "face embeddings", "version": 1, "model": "m", "source": "a.bin", "source_sha256": "a"}
    about |= {"mirrored": True, "emb_size": 8, "dtype": "float32", "step": 0}
    for name, values, issame in (("nan", rows, ISSAME), ("photos", np.ones_like(rows), None)):
        path = tmp_path / f"{name}.npz"
        write_store(path, [values], np.ones(2 * PAIRS), map(str, range(2 * PAIRS)), about, None, issame)
    with pytest.raises(UserError, match="nan.npz: 1 of 120 embeddings hold NaN or Inf"):
        run(monkeypatch, f"--embeddings {tmp_path}/nan.npz")
    with pytest.raises(UserError, match="photos.npz has no pairs"):
        run(monkeypatch, f"--embeddings {tmp_path}/photos.npz")
