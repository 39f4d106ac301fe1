"""The main job as a user runs it: commands on real faces, from recordio to ONNX."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from data.verification.verification_set import load_verification_set
from evaluation.verification import embed_set, verify_embeddings
from interchange.onnx.form import ExportForm
from snapshots.reader import Snapshot
from tests.support.commands import prepare_orl, run
from tests.support.protocol_sets import write_png
from tests.support.strangers import orl

STEPS = 3


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with faces, parts and a y1 trained for a few steps on two ranks, and what the training printed."""
    folder = tmp_path_factory.mktemp("job")
    prepare_orl(folder, pair_step=15)
    for person in range(31, 36):
        (folder / "people" / str(person)).mkdir(parents=True)
        for number in range(1, 4):
            write_png(folder / "people" / str(person) / f"{number}.png", orl(person, number))
    trained = run(
        "insightface_train.py",
        "--dataset",
        "orl",
        "--network",
        "y1",
        "--loss",
        "arcface",
        "--device",
        "cpu",
        "--device_num_per_node",
        "2",
        "--train_batch_size",
        "8",
        "--train_iter",
        str(STEPS),
        "--bn_mom",
        "0.5",
        "--validation_interval",
        str(STEPS),
        "--loss_print_frequency",
        "1",
        "--val_protocols",
        "identify:people",
        folder=folder,
    )
    return folder, trained.stdout


@pytest.fixture(scope="module")
def exported(job: tuple[Path, str]) -> Path:
    """The trained y1 as an ONNX file, which is in the job's folder."""
    folder, _ = job
    snapshot = f"models/y1-arcface-orl/snapshot_{STEPS}"
    run("tools/oneflow2onnx.py", "--model_load_dir", snapshot, "--onnx_path", "y1.onnx", folder=folder)
    return folder / "y1.onnx"


def accuracy_line(text: str) -> str:
    return re.search(r"^\[orl\]\[\d+\]Accuracy-Flip: \d\.\d{5}\+-\d\.\d{5}$", text, re.MULTILINE)[0]


def test_training_says_where_the_head_is(job: tuple[Path, str]) -> None:
    assert "fc7: placement cpu x 2 ranks, sbp oneflow.sbp.split(dim=0), 30 classes, 15 rows per rank" in job[1]


def test_training_logs_every_step(job: tuple[Path, str]) -> None:
    folder, printed = job
    metrics = (folder / "output/log/y1-arcface-orl/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in metrics if json.loads(line)["kind"] == "train"]
    assert steps == [1, 2, 3]
    assert len(re.findall(r"^Epoch\[0\] Batch \[\d/38\]\tSpeed: [\d.]+ samples/sec", printed, re.MULTILINE)) == STEPS
    assert list((folder / "output/log/y1-arcface-orl").glob("events.out.tfevents.*"))


def test_verification_alone_repeats_the_numbers_of_training(job: tuple[Path, str]) -> None:
    folder, printed = job
    snapshot = f"models/y1-arcface-orl/snapshot_{STEPS}"
    command = ("insightface_val.py", "--model_load_dir", snapshot, "--network", "y1", "--device", "cpu")
    from_parts = run(*command, "--report", "report", "--val_protocols", "identify:people", folder=folder)
    from_bin = run(*command, "--orl_dataset_dir", "datasets/faces_orl/orl.bin", folder=folder)
    assert accuracy_line(from_parts.stdout) == accuracy_line(from_bin.stdout) == accuracy_line(printed)
    report = json.loads((folder / "report/report.json").read_text())["sets"]["orl"]
    assert f"{report['accuracy']:1.5f}+-{report['accuracy_std']:1.5f}" in accuracy_line(printed)
    assert report["pairs"] == 60
    trained, alone = (
        re.findall(r"^\[identify\]\[3\]Rank \d: .*$", text, re.M) for text in (printed, from_parts.stdout)
    )
    assert trained == alone and len(alone) == 1
    for picture in ("roc.png", "pairs.png"):
        assert (folder / "report" / picture).read_bytes().startswith(b"\x89PNG")


def test_onnx_gives_the_same_verification(job: tuple[Path, str], exported: Path) -> None:
    folder, printed = job
    model = onnx.load(exported)
    assert model.opset_import[0].version == 17
    assert {item.key for item in model.metadata_props} >= {"network", "preprocessing", "source_sha256"}
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    faces = load_verification_set(folder / "datasets/faces_orl/orl.bin", "orl")
    plain, flipped = embed_set(
        lambda images: session.run(["fc1"], {"data": images.astype(np.float32)})[0], faces.images, faces.index, 20
    )
    result = verify_embeddings("orl", plain, flipped, faces.issame)
    assert f"{result.accuracy:1.5f}" == re.search(r"Flip: (\d\.\d{5})", accuracy_line(printed))[1]


def test_every_format_verifies_to_the_same_digits(job: tuple[Path, str], exported: Path) -> None:
    folder, printed = job
    snapshot = f"models/y1-arcface-orl/snapshot_{STEPS}"
    run(
        "tools/model_convert/oneflow_2_mxnet.py",
        "-of",
        snapshot,
        "-mx_save_prefix",
        "mx/y1",
        "--check_bin",
        "datasets/faces_orl/orl.bin",
        folder=folder,
    )
    for model in (exported.name, "mx/y1,0"):
        command = ("insightface_val.py", "--model_load_dir", model, "--network", "y1", "--dataset", "orl")
        verified = run(*command, "--device", "cpu", folder=folder).stdout
        assert accuracy_line(verified).partition("]Acc")[2] == accuracy_line(printed).partition("]Acc")[2]


def test_a_run_starts_from_an_onnx_file(job: tuple[Path, str], exported: Path) -> None:
    folder, _ = job
    run(
        "insightface_train.py",
        "--dataset",
        "orl",
        "--network",
        "y1",
        "--device",
        "cpu",
        "--train_batch_size",
        "4",
        "--train_iter",
        "1",
        "--lr",
        "0",
        "--pretrained",
        exported.name,
        "--models_root",
        "tuned",
        "--do_validation_while_train",
        "0",
        folder=folder,
    )
    before = Snapshot.open(folder / f"models/y1-arcface-orl/snapshot_{STEPS}").backbone()
    after = Snapshot.open(folder / "tuned/y1-arcface-orl/snapshot_1").backbone()
    assert all(np.array_equal(before[name], after[name]) for name in before if "moving" not in name)


@pytest.mark.slow
def test_triplets_tune_the_trained_network(job: tuple[Path, str]) -> None:
    folder, _ = job
    tuned = run(
        "insightface_train.py",
        "--dataset",
        "orl",
        "--network",
        "y1",
        "--loss",
        "triplet",
        "--device",
        "cpu",
        "--pretrained",
        f"models/y1-arcface-orl/snapshot_{STEPS}",
        "--images_per_identity",
        "2",
        "--triplet_bag_size",
        "24",
        "--train_batch_size",
        "6",
        "--train_iter",
        "2",
        "--loss_print_frequency",
        "1",
        "--do_validation_while_train",
        "0",
        folder=folder,
    )
    assert re.search(r"^bag 0: eval 24 images\.\.  found triplets [1-9]", tuned.stdout, re.MULTILINE)
    assert len(re.findall(r"lossvalue=\d\.\d+\tlr=", tuned.stdout)) == 2
    tuned_snapshot = Snapshot.open(folder / "models/y1-triplet-orl/snapshot_2")
    assert tuned_snapshot.is_full and not tuned_snapshot.has_classes


def test_onnx_that_differs_is_not_kept(job: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from tools import oneflow2onnx

    folder, _ = job
    snapshot = Snapshot.open(folder / f"models/y1-arcface-orl/snapshot_{STEPS}")
    export = oneflow2onnx.export_model

    def export_others(about: dict, graph: NetworkGraph, arrays: dict, form: ExportForm) -> onnx.ModelProto:
        return export(about, graph, {**arrays, "conv_1_conv2d_weight": arrays["conv_1_conv2d_weight"] * 1.01}, form)

    monkeypatch.setattr(oneflow2onnx, "export_model", export_others)
    monkeypatch.setattr(
        sys, "argv", ["x", "--model_load_dir", str(snapshot.path), "--onnx_path", str(folder / "w.onnx")]
    )
    with pytest.raises(UserError, match="is not written"):
        oneflow2onnx.main()
    assert not (folder / "w.onnx").exists()


def test_a_new_run_does_not_touch_the_old_one(job: tuple[Path, str]) -> None:
    result = run("insightface_train.py", "--dataset", "orl", "--network", "y1", folder=job[0], code=1)
    assert result.stderr.startswith("error: models/y1-arcface-orl/snapshot_3 is there from an earlier run")
    assert result.stderr.count("\n") == 1


def test_verification_names_the_wrong_network(job: tuple[Path, str]) -> None:
    snapshot = f"models/y1-arcface-orl/snapshot_{STEPS}"
    result = run("insightface_val.py", "--model_load_dir", snapshot, "--network", "r50", folder=job[0], code=1)
    assert result.stderr == f"error: --network r50: {snapshot} is of network y1\n"
