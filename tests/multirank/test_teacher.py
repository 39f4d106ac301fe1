"""What a teacher adds to loss and gradient against float64 on several ranks, for every head; and runs that resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones.graph.initializer import initial_arrays
from data.sources.synthetic import SyntheticSource
from interchange.open_model import open_model
from settings.places import run_directory
from snapshots.layout import snapshot_path
from tests.multirank.teacher_program import WEIGHT
from tests.support.ranks import run_ranks
from tests.support.teachers import distance, embed, write_taught_classes, write_teacher
from tests.support.tiny import tiny_config, tiny_network

PROGRAM, TRAIN = (Path(__file__).with_name(name) for name in ("teacher_program.py", "train_program.py"))
STEPS, SAVED = 4, 2
PLAIN = {"data_rand_mirror": False, "train_batch_size": 12}
WAYS: dict[str, dict[str, Any]] = {
    "model_parallel": PLAIN,
    "replicated": {**PLAIN, "model_parallel": False},
    "partial_fc": {**PLAIN, "partial_fc": True, "sample_ratio": 0.5, "loss": "cosface"},
    "nodes": {**PLAIN, "native_ops": False},
    "cache": {**PLAIN, "teacher_cache": True},
    "pieces": {**PLAIN, "gradient_accumulation": 2},
}
TAUGHT = {"teacher_logits": 0.5, "teacher_temperature": 2.0}
OTHER = "_other"  # a teacher with embeddings of another length
EVERY_WAY = [f"{name}{ending}" for name in WAYS for ending in ("", OTHER)]


def assert_added(found: list[dict[str, Any]], teacher: str, pieces: int = 1) -> None:
    """Check the losses and gradients of all ranks; the gradient of the biases is the sum of that of the embeddings."""
    network, model = tiny_network(), open_model(teacher)
    source, config = SyntheticSource(93, 31, 16, 1), tiny_config(Path("unused"))
    numbers = np.concatenate([rank["images"].reshape(pieces, -1) for rank in found], axis=1)
    losses, gradients = [], []
    for piece in numbers:
        images = np.stack([source.read(number)[0] for number in piece.tolist()])
        student = embed(network, initial_arrays(network, config.seed), images)
        value, gradient = distance(student, embed(model.network, model.arrays, images))
        losses.append(value)
        gradients.append(gradient.sum(axis=0))
    moved = WEIGHT * np.mean(gradients, axis=0)
    for rank in found:
        assert rank["loss"] == pytest.approx(WEIGHT * np.mean(losses), rel=1e-5)
        np.testing.assert_allclose(rank["moved"], moved, rtol=0, atol=1e-4 * np.abs(moved).max())


@pytest.mark.parametrize(
    ("ranks", "ways"),
    [
        (1, ["pieces_other"]),
        (2, ["cache", "replicated_other", "partial_fc"]),
        *(pytest.param(ranks, EVERY_WAY, marks=pytest.mark.slow, id=f"{ranks}-all") for ranks in (1, 2, 3)),
    ],
)
def test_a_teacher_adds_the_loss_and_gradient_of_float64(tmp_path: Path, ranks: int, ways: list[str]) -> None:
    files = {"": write_teacher(tmp_path / "same.onnx"), "_other": write_teacher(tmp_path / "other.onnx", 24)}
    taken = {name: (files[OTHER if name.endswith(OTHER) else ""], WAYS[name.removesuffix(OTHER)]) for name in ways}
    given = {name: {"folder": str(tmp_path), "teacher": file, "config": way} for name, (file, way) in taken.items()}
    found = run_ranks(PROGRAM, ranks, given)
    for name, (file, way) in taken.items():
        assert_added([rank[name] for rank in found], file, way.get("gradient_accumulation", 1))


@pytest.mark.parametrize(
    ("ranks", "length", "way"),
    [
        (1, 16, {"teacher_cache": True, "data_shift": 2.0}),
        (2, 24, {"optimizer": "adamw", "lr": 0.01, "partial_fc": True, "sample_ratio": 0.5, "use_bf16": True}),
        (2, 24, {**TAUGHT, "partial_fc": True, "sample_ratio": 0.5, "teacher_cache": True}),
        (1, 24, {**TAUGHT, "teacher_weight": 0.0, "gradient_accumulation": 2, "freeze_backbone_steps": 1}),
        pytest.param(1, 16, {**TAUGHT, "partial_fc": True, "fc7_storage": "mmap"}, marks=pytest.mark.slow),
        pytest.param(3, 16, {**TAUGHT, "model_parallel": False}, marks=pytest.mark.slow),
        pytest.param(2, 16, {**TAUGHT, "loss": "inter"}, marks=pytest.mark.slow),
    ],
    ids=["1-cache", "2-adamw", "2-logits", "1-logits", "1-logits-mmap", "3-logits-replicated", "2-logits-inter"],
)
def test_runs_with_a_teacher_resume_bit_for_bit(tmp_path: Path, ranks: int, length: int, way: dict[str, Any]) -> None:
    config, runs = tiny_config(tmp_path / "whole", way.get("loss", "arcface")), {}
    saved = snapshot_path(run_directory(config, config.models_root), SAVED)
    teacher = (
        write_taught_classes(tmp_path / "t", emb_size=length)
        if way.get("teacher_logits")
        else write_teacher(tmp_path / "t.onnx", length)
    )
    shared = {"train_iter": STEPS, "train_batch_size": 12, "teacher": teacher, **way}
    for name, own in {"whole": {"iter_num_in_snapshot": SAVED}, "again": {"model_load_dir": str(saved)}}.items():
        network = {"dropout": 0.4, "batch_norm": True}
        runs[name] = {"folder": str(tmp_path / name), "config": {**shared, **own}, "network": network}
    losses = run_ranks(TRAIN, ranks, runs)[0]
    assert losses["again"] == losses["whole"][SAVED:]


def test_the_softmax_of_a_teacher_trains_alike_on_any_number_of_ranks(tmp_path: Path) -> None:
    teacher, found = write_taught_classes(tmp_path / "t", emb_size=24), {}
    for ranks in (1, 2, 3):
        runs = {}
        for name, own in {"with": TAUGHT, "without": {}}.items():
            config = {**PLAIN, "train_iter": STEPS, "teacher": teacher, **own}
            runs[name] = {"folder": str(tmp_path / f"{ranks}-{name}"), "config": config}
        found[ranks] = run_ranks(TRAIN, ranks, runs)[0]
    for ranks in (2, 3):
        for name in ("with", "without"):
            np.testing.assert_allclose(np.array(found[ranks][name]), np.array(found[1][name]), rtol=1e-4)
    with_one, without = (np.array(found[1][name])[:, 1] for name in ("with", "without"))
    assert (with_one > without + 0.1).all()
