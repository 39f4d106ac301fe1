"""Verification of trained models from the command line to the files of the report, with small networks."""

from __future__ import annotations

import csv
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from data.image import encode_jpeg
from data.verification.bin_file import write_bin
from data.verification.verification_set import load_verification_set
from engine import verify_models
from engine.embedder import Embedder
from engine.group_report import check_group_files
from evaluation.verification import embed_set, verify_embeddings
from interchange import open_model as models
from interchange.onnx.writer import write_onnx
from launch.rank import RankReporter
from settings import verify_command
from settings.verify_command import read_verify_command
from tests.support.strangers import orl
from tests.support.tiny import IMAGE_SIZE, tiny_network

PAIRS = 60
open_once = functools.cache(models.open_model)


def not_ours(*_: object) -> None:
    raise UserError("the network is none of ours")


def face(person: int, number: int) -> bytes:
    small = cv2.resize(orl(person, number), (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
    return encode_jpeg(np.atleast_3d(small if small.ndim == 3 else np.stack([small] * 3, 2)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, and the sets ``a`` and ``b`` of other people."""
    folder = tmp_path_factory.mktemp("models")
    network = tiny_network()
    for name in ("first", "second"):
        onnx.save(write_onnx(network, initial_arrays(network, len(name)), {}), folder / f"{name}.onnx")
    rng = np.random.default_rng(0)
    for start, name in ((1, "a"), (11, "b")):
        bins, issame = [], []
        for pair in range(PAIRS):
            one, other = start + rng.choice(6, 2, replace=False)
            issame.append(pair % 2 == 0)
            bins += [face(one, 1 + pair % 5), face(one if issame[-1] else other, 6 + pair % 4)]
        write_bin(folder / f"{name}.bin", bins, issame)
    for person in range(1, 4):
        (folder / "people" / f"p{person}").mkdir(parents=True)
        for number in range(1, 5):
            (folder / "people" / f"p{person}" / f"{number}.jpg").write_bytes(face(person, number))
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(models, "recognise", not_ours)  # it takes seconds to find that out
    monkeypatch.setattr(verify_models, "open_model", open_once)
    monkeypatch.setattr(verify_command, "describe_model", lambda name: dict(open_once(name).config))


def run(folder: Path, line: str, sets: str = "a,b") -> None:
    argv = f"--val_targets {sets} --val_dataset_dir . --far_targets 0.1 --nrof_folds 5 {line}".split()
    config = read_verify_command(argv, folder).config.replaced(device="cpu")
    verify_models.verify(config, RankReporter())


def expected(model: str, name: str, mirrored: bool = True) -> object:
    faces = load_verification_set(Path(f"{name}.bin"), name, IMAGE_SIZE)
    embed = Embedder.of(open_once(model), 8, "cpu")
    plain, flipped = embed_set(embed, faces.images, faces.index, 8)
    return verify_embeddings(name, plain, flipped if mirrored else None, faces.issame, 5, [0.1])


def test_one_model(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(folder, f"--model_load_dir first.onnx --report {tmp_path}/report --bad_cases 3 --pca 4")
    said = capsys.readouterr().out
    result = expected("first.onnx", "b")
    assert f"[b][0]Accuracy-Flip: {result.accuracy:.5f}+-{result.accuracy_std:.5f}" in said
    assert re.search(r"^\[a\]\[0\]Accuracy-PCA-4: \d\.\d{5}\+-\d\.\d{5}$", said, re.M) and "Max of" not in said
    names = ["bad_cases.jpg", "histogram.png", "pairs.png", "pca.json", "report.json", "roc.png", "scores.csv"]
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == names
    rows = list(csv.DictReader((tmp_path / "report" / "scores.csv").read_text().splitlines()))
    assert [float(row["distance"]) for row in rows[PAIRS:]] == pytest.approx(result.distances, abs=1e-6)
    sheet = cv2.imread(str(tmp_path / "report" / "bad_cases.jpg"))
    assert sheet is not None and sheet.shape[1] > 4 * 2 * IMAGE_SIZE


def test_without_the_mirrored_images(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run(folder, "--model_load_dir first.onnx --flip 0", "a")
    said = capsys.readouterr().out
    result = expected("first.onnx", "a", mirrored=False)
    assert f"[a][0]Accuracy: {result.accuracy:.5f}+-{result.accuracy_std:.5f}" in said
    assert "image + mirrored image" not in said and "Accuracy-Flip" not in said


def test_several_models(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = f"--model_load_dir *.onnx --report {tmp_path} --bad_cases 2 --raw_pixels 1 --groups sets"
    run(folder, f"{words} --val_protocols identify:people")
    said = capsys.readouterr().out
    document = json.loads((tmp_path / "comparison.json").read_text())
    assert document["models"] == ["first.onnx", "second.onnx", "raw pixels"] and document["sets"] == ["a", "b"]
    accuracies = [document["measures"][0]["values"]["b"][model]["value"] for model in document["models"]]
    assert accuracies[:2] == [expected(model, "b").accuracy for model in document["models"][:2]]
    assert f"Max of [b] is {max(accuracies[:2]):1.5f}" in said
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"first.onnx", "second.onnx", *(f"comparison.{kind}" for kind in ("md", "csv", "json", "html"))}
    page = (tmp_path / "comparison.html").read_text()
    assert page.count("data:image/png") == 2 and page.count("data:image/jpeg") == 2 and "<script" not in page
    rank = json.loads((tmp_path / "second.onnx" / "protocols.json").read_text())["identify"]["rank_1"]
    line = f"Rank 1: {rank:.6f}"
    assert f"[identify][0]{line}" in said and "<h2>second.onnx: identify</h2>" in page and line in page
    groups = json.loads((tmp_path / "second.onnx" / "groups.json").read_text())
    assert list(groups["groups"]) == ["a", "b"]
    faces = [load_verification_set(Path(f"{name}.bin"), name, IMAGE_SIZE) for name in ("a", "b")]
    assert groups["rates"][0]["compared"]["a"]["b"] == len(faces[0].images) * len(faces[1].images)
    assert groups["groups"]["b"]["accuracy"] == accuracies[1]


def test_groups_of_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lines = [f"{name}/{number} {'left' if number < 60 else 'right'}" for name in "ab" for number in range(2 * PAIRS)]
    (tmp_path / "groups.txt").write_text("\n".join(lines))
    run(folder, f"--model_load_dir first.onnx --groups {tmp_path}/groups.txt --report {tmp_path}/report")
    groups = json.loads((tmp_path / "report" / "groups.json").read_text())["groups"]
    assert {name: group["same"] for name, group in groups.items()} == {"left": 30, "right": 30}
    pairs = "\n".join(f"p{number % 7}/1 p{(number + 1) % 7}/1 0" for number in range(PAIRS))
    (tmp_path / "pairs.txt").write_text(pairs)
    (tmp_path / "people.txt").write_text("\n".join(f"p{number} {'xyz'[number % 3]}" for number in range(7)))
    of_people = f"--model_load_dir first.onnx --groups {tmp_path}/people.txt --group_pairs {tmp_path}/pairs.txt"
    capsys.readouterr()
    run(folder, of_people, "a")
    assert "false accepts between groups" in capsys.readouterr().out
    (tmp_path / "pairs.txt").write_text(pairs + "\nq/1 q/2 1")
    with pytest.raises(UserError, match=f"has 61 pairs, and a has {PAIRS}"):
        run(folder, of_people, "a")


def test_damaged_files_of_groups_are_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "groups.txt").write_text("alone\n")
    with pytest.raises(UserError) as caught:
        check_group_files(f"{tmp_path}/groups.txt", f"{tmp_path}/missing.txt")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{tmp_path}/groups.txt:1: 'alone' is not a line")
    assert lines[1].startswith(f"--group_pairs {tmp_path}/missing.txt cannot be read") and len(lines) == 2
    check_group_files("sets", "")


def test_too_many_components_end_it_before_anything_is_embedded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Embedder, "__call__", lambda *_: pytest.fail("it embeds"))
    with pytest.raises(UserError, match="--pca 17: a allows at most 16 components"):
        run(folder, "--model_load_dir first.onnx --pca 17")


def test_a_verification_without_a_report_loads_no_pictures() -> None:
    code = "import sys, engine.verify_models; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=60).returncode == 0
