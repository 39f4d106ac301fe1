"""tools/evaluate/identify.py with a small ONNX model and faces of ORL, as a user runs it."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from data.image import image_shape
from evaluation.embedding_store import read_store
from interchange.onnx.writer import write_onnx
from interchange.open_model import open_model
from tests.support.strangers import orl
from tests.support.tiny import IMAGE_SIZE, tiny_network
from tools.evaluate import identify


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a gallery of six people, probes of seven, and the photos of five in one folder."""
    folder = tmp_path_factory.mktemp("identify")
    network = tiny_network()
    onnx.save(write_onnx(network, initial_arrays(network, 3), {}), folder / "tiny.onnx")
    for person in range(1, 8):
        for number in range(1, 5):
            small = cv2.resize(orl(person, number), (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
            places = ["gallery" if number == 1 else "probes", *(["photos"] if person < 6 else [])]
            for place in places:
                if (place, person) != ("gallery", 7):
                    (folder / place / f"person {person}").mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(folder / place / f"person {person}" / f"{number}.png"), small)
    return folder


NOTE = "note: tiny.onnx: images as RGB: assumed; (x - 127.5) / 128 is in the file"
open_once = functools.cache(open_model)  # it takes seconds to see that a network is none of ours


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(identify, "open_model", open_once)


def run(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["identify.py", *words.split()])
    identify.main()


def unit(path: str) -> tuple[np.ndarray, np.ndarray]:
    store = read_store(path)
    people = np.array([name.split("/")[0] for name in store.names])
    return store.embeddings / np.linalg.norm(store.embeddings.astype(float), axis=1, keepdims=True), people


def test_gallery_and_probes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    run(monkeypatch, "--gallery gallery --probes probes --model_load_dir tiny.onnx --device cpu --output a --fpir 0.1")
    lines = capsys.readouterr().out.splitlines()
    (rows, people), (gallery, owners) = unit("a/probes.npz"), unit("a/gallery.npz")
    known = people != "person 7"
    right = owners[(rows @ gallery.T).argmax(axis=1)] == people
    assert "gallery: 6 images of 6 people; probes: 21, 18 of them of people in the gallery" in lines
    assert f"Rank 1: {right[known].mean():.6f}" in lines and 0 < right[known].mean() < 1
    assert any(line.startswith("TPIR at FPIR 0.1: ") and "cosine above" in line for line in lines)
    wrong = int((~right[known]).sum())
    assert lines[-1] == (
        f"a: identification.json, confusions.csv, confusions.jpg; {wrong} probes are taken for another person"
    )
    height, width = image_shape(Path("a/confusions.jpg").read_bytes())[:2]
    assert width > 6 * 112 and height > 112 * -(-min(wrong, 20) // 2)
    content = json.loads(Path("a/identification.json").read_text())
    assert content["about"]["gallery"]["model_sha256"] == read_store("a/gallery.npz").about["model_sha256"]
    # Files of embeddings need no model, and give the same.
    run(monkeypatch, "--gallery a/gallery.npz --probes a/probes.npz --output b --fpir 0.1 --confusions 1")
    again = [line for line in capsys.readouterr().out.splitlines() if "embeddings" not in line and line != NOTE]
    assert again[:-1] == [line for line in lines if "embeddings" not in line and line != NOTE][:-1]
    assert Path("b/confusions.jpg").stat().st_size < Path("a/confusions.jpg").stat().st_size


def test_split_by_seed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    words = "--input photos --gallery_per_person 2 --model_load_dir tiny.onnx --device cpu --output c --confusions 0"
    run(monkeypatch, words)
    note, *lines = capsys.readouterr().out.splitlines()
    assert note == NOTE
    assert "gallery: 10 images of 5 people; probes: 10, 10 of them of people in the gallery" in lines
    run(monkeypatch, words)
    assert capsys.readouterr().out.splitlines() == [note, "c/input.npz is complete already", *lines[1:]]
    assert not Path("c/confusions.jpg").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--gallery gallery", "give --gallery and --probes, or --input"),
        ("--input photos --gallery gallery", "give --gallery and --probes, or --input"),
        ("--input photos", "--model_load_dir is missing"),
        ("--input photos --model_load_dir tiny.onnx --fpir 0.1,2", "above 0 and below 1"),
        ("--input nothing --model_load_dir tiny.onnx", "nothing does not exist"),
        ("--input nothing.npz", "nothing.npz is not a file"),
        ("--input nothing.npz --seed -1", "--seed -1 must be at least 0"),
    ],
)
def test_mistakes(monkeypatch: pytest.MonkeyPatch, words: str, text: str) -> None:
    with pytest.raises(UserError, match=text):
        run(monkeypatch, f"{words} --output d")
    assert not Path("d").exists()
