"""tools/evaluate/ijb.py with a small ONNX model on faces, as a user runs it."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from data.photos.align import align_face
from evaluation.embedding_store import read_store
from interchange.onnx.writer import write_onnx
from interchange.open_model import open_model
from tests.support import ijb_reference as reference
from tests.support.strangers import orl
from tests.support.tiny import IMAGE_SIZE, tiny_network
from tools.evaluate import ijb

SMALL = reference.make_set(2, 10)
POINTS = np.array([38.295, 51.696, 73.532, 51.501, 56.025, 71.737, 41.549, 92.366, 70.730, 92.204], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set with pictures of its people, a model, and the embeddings that ``ijb_evals.py`` would save."""
    folder = tmp_path_factory.mktemp("ijb")
    SMALL.write(folder / "IJBC")
    (folder / "IJBC" / "loose_crop").mkdir()
    network = tiny_network()
    onnx.save(write_onnx(network, initial_arrays(network, 3), {}), folder / "tiny.onnx")
    faces = []
    for number, ((name, *_), subject) in enumerate(zip(SMALL.faces, SMALL.subjects, strict=True)):
        picture = np.roll(orl(subject - 99, 1 + number % 10), number % 5, axis=1)
        cv2.imwrite(str(folder / "IJBC" / "loose_crop" / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        decoded = cv2.cvtColor(cv2.imread(str(folder / "IJBC" / "loose_crop" / name)), cv2.COLOR_BGR2RGB)
        faces.append(align_face(decoded, POINTS.reshape(5, 2), IMAGE_SIZE))
    session = onnxruntime.InferenceSession(str(folder / "tiny.onnx"), providers=["CPUExecutionProvider"])
    batch = np.stack(faces).transpose(0, 3, 1, 2).astype(np.float32)
    alone, mirrored = (session.run(None, {"data": images})[0] for images in (batch, batch[..., ::-1]))
    np.savez(folder / "saved.npz", embs=alone, embs_f=mirrored)
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def run(monkeypatch: pytest.MonkeyPatch, output: Path, *words: object) -> None:
    line = ["ijb.py", "--data_dir", "IJBC", "--output", str(output), *map(str, words)]
    monkeypatch.setattr(sys, "argv", line)
    ijb.main()


def test_a_model_from_images_to_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = ("--model_load_dir", "tiny.onnx", "--device", "cpu")
    monkeypatch.setattr(ijb, "open_model", functools.cache(open_model))  # it takes seconds
    run(monkeypatch, tmp_path, *model, "--modes", "N1D1F2,N0D0F0,N1D0F1")
    printed = capsys.readouterr().out
    with np.load("saved.npz") as saved:
        alone, mirrored = saved["embs"], saved["embs_f"]
    np.testing.assert_allclose(read_store(tmp_path / "embeddings.npz").embeddings, alone + mirrored, atol=1e-3)
    np.testing.assert_allclose(read_store(tmp_path / "embeddings_alone.npz").embeddings, alone, atol=1e-3)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["about"]["model"] == "tiny.onnx" and report["set"]["pairs"] == len(SMALL.pairs)
    # From the stored rows, which differ from onnxruntime's in their last bits, the report has the reference's numbers.
    summed = read_store(tmp_path / "embeddings.npz").embeddings
    templates = reference.template_features(SMALL, summed, True, True)
    tprs, area = reference.verification(SMALL.pairs, templates)
    numbers = report["modes"]["N1D1F2"]["verification"]
    assert [point["tpr"] for point in numbers["points"]] == tprs and numbers["auc"] == pytest.approx(area)
    row = "  ".join(f"{100 * tpr:.2f}" for tpr in tprs)
    assert row.split() == next(line for line in printed.splitlines() if line.startswith("N1D1F2-IJBC ")).split()[1:-1]
    ranks, points = reference.closed_set(SMALL, templates)
    assert f"top1: {ranks[0]:.6f}, top5: {ranks[1]:.6f}, top10: {ranks[2]:.6f}" in printed
    assert f"far = 0.0100000000 pr = {points[0][0]:.10f} th = {points[0][1]:.6f}" in printed
    assert "* fewer pairs of two people than are needed" in printed
    for picture in ("roc.png", "identification.png"):
        assert cv2.imread(str(tmp_path / picture)).shape == (825, 1200, 3)
    run(monkeypatch, tmp_path, *model, "--protocol", "1n")
    assert "embeddings.npz is complete already" in capsys.readouterr().out


def test_stored_embeddings_of_both_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(monkeypatch, tmp_path / "saved", "--embeddings", "saved.npz", "--modes", "all")
    report = json.loads((tmp_path / "saved" / "report.json").read_text())
    assert len(report["modes"]) == 8
    with np.load("saved.npz") as saved:
        features = {"F0": saved["embs"], "F2": saved["embs"] + saved["embs_f"]}
    for name, numbers in report["modes"].items():
        templates = reference.template_features(SMALL, features[name[4:]], name[1] == "1", name[3] == "1")
        tprs, _ = reference.verification(SMALL.pairs, templates)
        assert [point["tpr"] for point in numbers["verification"]["points"]] == tprs, name
        hits, points = reference.open_set(SMALL.galleries["G2"], SMALL.probes, templates, [0.01])
        found = numbers["identification"]["open"]["G2"]
        assert found["rank_1"] == hits[0] / found["probes"]
        assert found["points"][2]["tpir"] == points[0][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give either --model_load_dir or --embeddings"),
        (("--embeddings", "a.npz", "--batch_size", 0), "--batch_size 0 must be at least 1"),
        (("--embeddings", "absent.npz"), "absent.npz is not a file"),
        (("--embeddings", "saved.npz", "--modes", "N1"), "'N1' is not a mode"),
        (("--embeddings", "saved.npz", "saved.npz"), "holds embeddings of the alone and mirrored image"),
        (("--embeddings", "nan.npz"), r"nan.npz: the embedding of 4.jpg is NaN or Inf \(2 are\)"),
        (("--embeddings", "short.npz"), r"short.npz has 5 embeddings for \d+ images"),
        (("--embeddings", "plain.npz"), "mode N1D1F2 takes embeddings of tools/embed.py --flip 1"),
        (("--embeddings", "cut.npz"), r"cut\.npz"),
        (("--embeddings", "saved.npz", "--target", "IJBB"), "has no meta/ijbb_face_tid_mid.txt"),
    ],
)
def test_what_cannot_be_evaluated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple, message: str) -> None:
    with np.load("saved.npz") as saved:
        alone = saved["embs"].copy()
    np.savez("short.npz", embs=alone[:5], embs_f=alone[:5])
    np.savez("plain.npz", embs=alone)
    alone[[3, 7]] = np.nan
    np.savez("nan.npz", embs=alone, embs_f=alone)
    Path("cut.npz").write_bytes(Path("saved.npz").read_bytes()[:500])
    with pytest.raises(UserError, match=message):
        run(monkeypatch, tmp_path / "out", *words)
    assert not (tmp_path / "out" / "report.json").exists()


def test_an_image_that_cannot_be_used_is_not_said_to_be_skippable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    damaged = min((folder / "IJBC" / "loose_crop").iterdir())
    content = damaged.read_bytes()
    damaged.write_bytes(b"no image")
    monkeypatch.setattr(ijb, "open_model", functools.cache(open_model))
    try:
        with pytest.raises(UserError, match="not decodable; mend them; every image is needed") as failure:
            run(monkeypatch, tmp_path, "--model_load_dir", "tiny.onnx", "--device", "cpu")
    finally:
        damaged.write_bytes(content)
    assert damaged.name in str(failure.value) and "--skip_bad" not in str(failure.value)
