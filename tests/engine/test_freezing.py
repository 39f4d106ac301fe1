"""Runs that keep parts of the network as they were loaded: bit for bit, and exact when they resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from engine.preflight import check_run, describe_freezing
from interchange.converted_snapshot import ConvertedModel, write_converted
from sample_config import generate_config
from settings.complete import complete_config
from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.support.tiny import read_losses, tiny_config, tiny_network, train

NETWORK = tiny_network(dropout=0.4, batch_norm=True)
FIRST = initial_arrays(NETWORK, 1)
FROZEN, STEPS = 2, 4
WAYS: dict[str, dict[str, Any]] = {
    "pieces": {"gradient_accumulation": 2, "clip_gradient": 0.1, "fp16_scale": 64.0},
    "sample": {"partial_fc": True, "sample_ratio": 0.5, "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
    "nodes": {"native_ops": False, "model_parallel": False, "loss": "softmax"},
    "bfloat16": {"use_bf16": True, "loss": "adaface"},
}


def snapshot(folder: Path, step: int) -> Snapshot:
    config = tiny_config(folder)
    return Snapshot.open(snapshot_path(run_directory(config, config.models_root), step))


def short_config(folder: Path, loss: str = "arcface", **changes: Any) -> Any:
    settings = {"train_iter": STEPS, "iter_num_in_snapshot": 1, "extra_model_name": ""}
    config = tiny_config(folder, loss, **{**settings, **changes})
    config.loss = "arcface"  # the name of the run's folder
    return config


def read(folder: Path, step: int) -> dict[str, np.ndarray]:
    """Return all arrays and moments of a snapshot, those of the head too."""
    found = snapshot(folder, step)
    moments = {f"{kind} {n}": array for kind, own in found.moments().items() for n, array in own.items()}
    return {**found.backbone(), **found.head_rows(0, 31), **moments}


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("way", WAYS)
def test_a_frozen_backbone_stays_bit_for_bit_and_then_learns(tmp_path: Path, way: str) -> None:
    train(short_config(tmp_path, freeze_backbone_steps=FROZEN, **WAYS[way]), NETWORK)
    for step in range(1, FROZEN + 1):
        assert_same(FIRST, snapshot(tmp_path, step).backbone())
        assert not any(array.any() for own in snapshot(tmp_path, step).moments().values() for array in own.values())
    rows = [snapshot(tmp_path, step).head_rows(0, 31)["fc7_weight"] for step in range(1, STEPS + 1)]
    assert all((before != after).any() for before, after in zip(rows, rows[1:], strict=False))
    after = snapshot(tmp_path, FROZEN + 1).backbone()
    assert [name for name, array in after.items() if (array == FIRST[name]).all()] == []


def test_a_run_that_stops_while_frozen_resumes_exactly(tmp_path: Path) -> None:
    settings = {"freeze_backbone_steps": FROZEN, **WAYS["sample"]}
    config = short_config(tmp_path / "whole", **settings)
    train(config, NETWORK)
    for step in (FROZEN - 1, FROZEN + 1):
        given = str(snapshot(tmp_path / "whole", step).path)
        again = short_config(tmp_path / str(step), model_load_dir=given, **settings)
        train(again, NETWORK)
        assert read_losses(again) == read_losses(config)[step:]
        assert_same(read(tmp_path / "whole", STEPS), read(tmp_path / str(step), STEPS))


def test_adamw_begins_anew_with_a_backbone_that_was_frozen(tmp_path: Path) -> None:
    """Its first step moves each weight by the learning rate, however many steps the head has behind it."""
    settings = {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.0, "train_iter": FROZEN + 1}
    train(short_config(tmp_path, freeze_backbone_steps=FROZEN, **settings), NETWORK)
    moved = np.abs(snapshot(tmp_path, FROZEN + 1).backbone()["conv0_weight"] - FIRST["conv0_weight"])
    np.testing.assert_allclose(moved, 0.01, rtol=1e-2)


@pytest.mark.parametrize("way", WAYS)
def test_frozen_batch_norm_stays_bit_for_bit(tmp_path: Path, way: str) -> None:
    train(short_config(tmp_path, freeze_bn=True, **WAYS[way]), NETWORK)
    after = snapshot(tmp_path, STEPS).backbone()
    for name, array in after.items():
        assert (array == FIRST[name]).all() == name.startswith("bn0_"), name


def test_batch_norm_is_frozen_and_freed_on_resume(tmp_path: Path) -> None:
    train(short_config(tmp_path, train_iter=2), NETWORK)
    given = snapshot(tmp_path, 2)
    train(short_config(tmp_path, resume=True, train_iter=4, freeze_bn=True), NETWORK)
    frozen = snapshot(tmp_path, 4)
    train(short_config(tmp_path, resume=True, train_iter=5), NETWORK)
    freed = snapshot(tmp_path, 5)
    for name in ("bn0_gamma", "bn0_beta", "bn0_moving_mean", "bn0_moving_var"):
        assert (frozen.backbone()[name] == given.backbone()[name]).all()
        assert (freed.backbone()[name] != given.backbone()[name]).all()
    assert (frozen.moments()["momentum"]["bn0_gamma"] == given.moments()["momentum"]["bn0_gamma"]).all()


def test_the_backbone_learns_at_its_own_rate(tmp_path: Path) -> None:
    settings = {"train_iter": 1, "weight_decay": 0.0}
    train(short_config(tmp_path / "a", **settings), NETWORK)
    train(short_config(tmp_path / "b", backbone_lr_mult=0.25, **settings), NETWORK)
    whole, part = (read(tmp_path / name, 1) for name in "ab")
    np.testing.assert_allclose(
        4 * (part["conv0_weight"] - FIRST["conv0_weight"]),
        whole["conv0_weight"] - FIRST["conv0_weight"],
        rtol=1e-3,
        atol=1e-6,
    )
    assert (part["fc7_weight"] == whole["fc7_weight"]).all()


def test_earlier_layers_learn_more_slowly(tmp_path: Path) -> None:
    """The rate of conv0 is a quarter of that of fc1, the next layer."""
    settings = {"train_iter": 1, "weight_decay": 0.0}
    train(short_config(tmp_path / "a", **settings), NETWORK)
    train(short_config(tmp_path / "b", layer_lr_decay=0.25, **settings), NETWORK)
    whole, part = (read(tmp_path / name, 1) for name in "ab")
    for name, factor in (("conv0_weight", 4), ("bn0_gamma", 4), ("fc1_weight", 1), ("fc1_bias", 1)):
        moved = (arrays[name] - FIRST[name] for arrays in (whole, part))
        np.testing.assert_allclose(next(moved), factor * next(moved), rtol=1e-3, atol=1e-6, err_msg=name)
    assert (part["fc7_weight"] == whole["fc7_weight"]).all()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of y1 with initial values."""
    config = generate_config("y1", "orl", "arcface")
    network = build_network(config)
    path = tmp_path_factory.mktemp("given") / "snapshot_1"
    write_converted(path, ConvertedModel(config, network, initial_arrays(network, 2), {}, []), {})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": ""}, "^--freeze_backbone_steps 5 would freeze initial values; give --pretrained"),
        (
            {"pretrained": "", "freeze_bn": True},
            "^--freeze_backbone_steps 5 and --freeze_bn 1 would freeze initial values",
        ),
        ({"emb_size": 16}, r"pre_fc1_weight is \(128, 512\).* --partial_load 1 keeps 278 arrays, and 6 start anew$"),
        (
            {"emb_size": 16, "partial_load": True},
            r"would freeze the initial values of 6 arrays that .*snapshot_1 does not fill \(pre_fc1_weight, ",
        ),
    ],
)
def test_initial_values_are_not_frozen(tmp_path: Path, given: Path, changes: dict[str, Any], message: str) -> None:
    settings = {"network": "y1", "image_size": 112, "emb_size": 128, "pretrained": str(given)}
    config = tiny_config(tmp_path, **{**settings, "freeze_backbone_steps": 5, **changes})
    with pytest.raises(UserError, match=message) as caught:
        check_run(complete_config(config, 1, "cpu"), 1)
    assert "\n" not in str(caught.value)


def test_a_run_says_what_it_freezes_and_when_that_ends(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, freeze_backbone_steps=2, freeze_bn=True, train_iter=3)
    assert [line.split(";")[0] for line in describe_freezing(config, 1)] == [
        "steps 2 to 2 train the class rows alone",
        "BatchNorm keeps gammas, betas and running statistics, and normalises by these",
    ]
    assert len(describe_freezing(config, 2)) == 1
    train(config, NETWORK)
    lines = (run_directory(config, config.log_dir) / "train.log").read_text().splitlines()
    (place,) = (i for i, line in enumerate(lines) if line.endswith("from step 3 on the backbone is trained too"))
    assert "step=2" in lines[place - 1] and "step=3" in lines[place + 1]
