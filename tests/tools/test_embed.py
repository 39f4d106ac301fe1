"""tools/embed.py and tools/compare.py with a small ONNX model, as a user runs them."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from data.image import decode_image
from data.photos.detectors import open_detector
from data.photos.prepare import PhotoRules, make_image
from evaluation.embedding_store import read_store
from evaluation.report import write_report
from evaluation.similarity import cosine_similarity, pair_distances
from evaluation.verification import verify_embeddings
from interchange.onnx.writer import write_onnx
from interchange.open_model import open_model
from snapshots.reader import checksum
from tests.support.strangers import astronaut, hanks, orl
from tests.support.tiny import IMAGE_SIZE, tiny_network
from tools import compare, embed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and photos of its size, one larger, and a text."""
    folder = tmp_path_factory.mktemp("embed")
    network = tiny_network()
    onnx.save(write_onnx(network, initial_arrays(network, 3), {}), folder / "tiny.onnx")
    (folder / "photos" / "Jörg").mkdir(parents=True)
    for number in (1, 2, 3):
        small = cv2.resize(orl(5, number), (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "photos" / "Jörg" / f"{number}.png"), small)
    cv2.imwrite(str(folder / "large.png"), orl(6, 1))
    (folder / "photos" / "notes.txt").write_text("a text")
    return folder


open_once = functools.cache(open_model)  # it takes seconds to see that a network is none of ours


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for tool in (embed, compare):
        monkeypatch.setattr(tool, "open_model", open_once)


def run(monkeypatch: pytest.MonkeyPatch, tool: object, *words: object) -> None:
    model = ["--model_load_dir", "tiny.onnx", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [tool.__name__, *map(str, words), *model])
    tool.main()


def onnx_rows(*images: np.ndarray, mirrored: bool = True) -> np.ndarray:
    """Embeddings by onnxruntime of RGB images uint8 [S, S, 3]."""
    session = onnxruntime.InferenceSession("tiny.onnx", providers=["CPUExecutionProvider"])
    batch = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)
    rows = session.run(None, {"data": batch})[0]
    return rows + session.run(None, {"data": batch[..., ::-1]})[0] if mirrored else rows


def photo(number: int) -> np.ndarray:
    return decode_image(Path(f"photos/Jörg/{number}.png").read_bytes(), IMAGE_SIZE)


def test_photos_are_embedded_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    target = tmp_path / "photos.npz"
    run(monkeypatch, embed, "--input", "photos", "--output", target)
    assert capsys.readouterr().out.splitlines() == [
        "note: tiny.onnx: images as RGB: assumed; (x - 127.5) / 128 is in the file",
        f"{target}: 3 embeddings of 16 numbers, float32, image + mirrored image",
        f"left out: 1 not decodable; {tmp_path}/photos.rejected.csv lists them",
    ]
    store = read_store(target)
    assert store.names.tolist() == ["Jörg/1.png", "Jörg/2.png", "Jörg/3.png"]
    np.testing.assert_allclose(store.embeddings, onnx_rows(*map(photo, (1, 2, 3))), rtol=1e-4, atol=1e-4)
    assert store.about["model_sha256"] == checksum(Path("tiny.onnx"))
    before = target.stat().st_mtime_ns
    run(monkeypatch, embed, "--input", "photos/", "--output", target)
    assert (
        capsys.readouterr().out.endswith(f"in the file\n{target} is complete already\n")
        and target.stat().st_mtime_ns == before
    )
    with pytest.raises(
        UserError, match=r"photos\.npz exists already, with another dtype, mirrored; remove it or choose"
    ):
        run(monkeypatch, embed, "--input", "photos", "--output", target, "--flip", 0, "--dtype", "float16")
    run(monkeypatch, embed, "--input", "photos", "--output", tmp_path / "b.npz", "--flip", 0, "--dtype", "float16")
    expected = onnx_rows(*map(photo, (1, 2, 3)), mirrored=False)
    np.testing.assert_allclose(read_store(tmp_path / "b.npz").embeddings, expected, rtol=2e-3, atol=2e-3)


def test_faces_are_aligned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{hanks()}\n{astronaut()}\n")
    run(monkeypatch, embed, "--input", tmp_path / "list.txt", "--output", tmp_path / "a.npz", "--align", 1)
    rules = PhotoRules(IMAGE_SIZE, open_detector())
    faces = [make_image(path.read_bytes(), rules)[0] for path in (hanks(), astronaut())]
    store = read_store(tmp_path / "a.npz")
    np.testing.assert_allclose(store.embeddings, onnx_rows(*faces), rtol=1e-4, atol=1e-4)
    assert store.about["detector"] == "mtcnn"


@pytest.mark.parametrize("flip", [0, 1])
def test_two_photos_are_compared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, flip: int) -> None:
    rows = onnx_rows(photo(1), photo(2), mirrored=bool(flip))
    cosine, distance = cosine_similarity(rows[:1], rows[1:])[0], pair_distances(rows[:1], rows[1:])[0]
    names = ("photos/Jörg/1.png", "photos/Jörg/2.png")
    kind = "image + mirrored image" if flip else "image alone"
    first = f"cosine similarity {cosine:.4f}, squared distance {distance:.4f} ({kind})"
    run(monkeypatch, compare, *names, "--flip", flip)
    _, shown, hint = capsys.readouterr().out.splitlines()
    assert shown == first and hint.startswith("no threshold: give --report DIR")
    below, above = round(cosine - 0.01, 4), round(cosine + 0.01, 4)
    run(monkeypatch, compare, *names, "--flip", flip, "--threshold", below)
    answer = capsys.readouterr().out.splitlines()[2]
    assert answer == f"one person: {cosine:.4f} is above the threshold {below:.4f} (--threshold)"
    run(monkeypatch, compare, *names, "--flip", flip, "--threshold", above)
    assert capsys.readouterr().out.splitlines()[2].startswith(f"two people: {cosine:.4f} is not above the threshold")
    rng = np.random.default_rng(0)
    result = verify_embeddings("orl", *rng.normal(size=(2, 800, 8)), np.arange(400) % 2 == 0, 10, [0.01])
    write_report("report", [result], {}, {"checksum": checksum(Path("tiny.onnx"))})
    run(monkeypatch, compare, *names, "--flip", flip, "--report", "report", "--far", 0.01)
    known = result.thresholds[0 if flip else 1].cosine
    assert f"threshold {known:.4f} (report/report.json: set orl, FAR 0.01" in capsys.readouterr().out
    write_report("report", [result], {}, {"checksum": "another", "model": "m"})
    with pytest.raises(UserError, match="is the report of another model, m"):
        run(monkeypatch, compare, *names, "--report", "report")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("a.png", "large.png"),
            r"^a\.png: not readable \(No such file.*\)\nlarge\.png: wrong size \(112x112\); .*16x16",
        ),
        (("a", "b", "--align", 1, "--resize", 1), "--align 1 and --resize 1 contradict"),
        (("a", "b", "--threshold", 2), r"--threshold 2\.0 must be a cosine similarity"),
        (("a", "b", "--far", 0.1, "--detector", "x"), "--detector x needs --align 1\n--set and --far need --report"),
        (("a", "b", "--report", "r", "--threshold", 0.1), "contradict each other; give one"),
    ],
)
def test_a_comparison_that_is_not_possible(monkeypatch: pytest.MonkeyPatch, words: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(monkeypatch, compare, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--input", "absent", "--output", "a.npz"), "--input absent does not exist"),
        (("--input", "photos", "--output", "a", "--batch_size", 0), "must end in .npz\n--batch_size 0 must be"),
        (("--input", "large.png", "--output", "a.npz"), "large.png is an image; give its folder, or a list of paths"),
        (("--input", "photos", "--output", "a.npz", "--align", 1, "--resize", 1), "contradict each other"),
        (("--input", "photos", "--output", "photos/a.npz"), "--output photos/a.npz lies in the folder of photos"),
        (("--input", "", "--output", "a.npz"), "--input is empty; give a path"),
    ],
)
def test_what_cannot_be_embedded(monkeypatch: pytest.MonkeyPatch, words: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(monkeypatch, embed, *words)
