from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sample_config
from backbones import build_network
from common.errors import UserError
from engine.gradients import LossScale
from engine.options import StepOptions
from engine.step import TrainStep
from launch.world import configure_transfers
from ops import flow
from settings.complete import complete_config
from settings.config import Config
from settings.config_file import merge
from settings.precision import check_bfloat16, describe_precision, describe_transfers, resolve_precision
from settings.tables import sample_tables
from settings.train_command import resolve_train_config
from tests.support.tiny import make_trainer, tiny_config, tiny_network

BACKBONE = merge(sample_tables(), "y1", "orl", "arcface")
SETTINGS = {
    "device": "cuda",
    "use_fp16": True,
    "use_bf16": False,
    "fp16_scale": 1.0,
    "fp16_scale_window": 0,
    "native_ops": True,
    "sync_bn": False,
}


def settle(ranks: int = 1, **changes: Any) -> tuple[dict[str, Any], list[str]]:
    config = {**SETTINGS, **changes}
    network = build_network({**BACKBONE, "network": "y1", **changes})
    resolved = resolve_precision(Config(config), ranks, network)
    return dict(resolved), describe_precision(resolved, ranks, network)


@pytest.mark.parametrize(
    ("changes", "scale", "line"),
    [
        ({}, (65536.0, 2000), "mixed precision, loss scale 65536, which is adjusted every 2000 steps"),
        ({"fp16_scale": 0.0}, (65536.0, 2000), "mixed precision, loss scale 65536, which is adjusted every 2000 steps"),
        ({"fp16_scale": 128.0}, (128.0, 0), "mixed precision, loss scale 128"),
        ({"fp16_scale_window": 9}, (1.0, 9), "mixed precision, loss scale 1, which is adjusted every 9 steps"),
    ],
)
def test_on_gpus_there_is_a_loss_scale(changes: dict[str, Any], scale: tuple, line: str) -> None:
    config, said = settle(**changes)
    assert (config["fp16_scale"], config["fp16_scale_window"], config["use_bf16"]) == (*scale, False)
    assert said == [f"--use_fp16 1: {line}"]


def test_on_a_cpu_it_is_bfloat16() -> None:
    config, (said,) = settle(device="cpu")
    assert config == {**SETTINGS, "device": "cpu", "use_bf16": True}
    assert said.startswith("--use_fp16 1 on a CPU is --use_bf16 1")


VIT = {**sample_config.network.vit_t, "network": "vit_t"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"native_ops": False}, "--native_ops 0 computes in float32"),
        ({"sync_bn": True, "ranks": 2}, "--sync_bn 1 on several ranks computes in float32"),
        (VIT, "network vit_t computes in float32 on a CPU, whose kernels lack "),
    ],
    ids=("native_ops", "sync_bn", "network"),
)
def test_where_there_is_no_bfloat16_it_is_announced(changes: dict[str, Any], why: str) -> None:
    config, (said,) = settle(device="cpu", **changes)
    assert not config["use_bf16"] and said.startswith(f"--use_fp16 1 has no effect: {why}")


def test_bfloat16_by_its_own_name_is_refused(tmp_path: Path) -> None:
    for flags, refused in (("--use_fp16 1", False), ("--use_bf16 1", True), ("--use_fp16 1 --use_bf16 1", True)):
        argv = f"--network vit_t --use_synthetic_data 1 --device cpu {flags}".split()
        config = complete_config(resolve_train_config(argv, tmp_path), 1, "cpu")
        network = build_network(config)
        if not refused:
            check_bfloat16(config, network)
            continue
        with pytest.raises(UserError, match="--use_bf16 1 is not for network vit_t"):
            check_bfloat16(config, network)


def test_a_scale_alone_is_announced() -> None:
    config, (said,) = settle(use_fp16=False, fp16_scale=64.0)
    assert config["fp16_scale"] == 64 and said.startswith("--fp16_scale 64 scales the loss alone")
    assert settle(use_fp16=False)[1] == []


def test_no_scale_is_a_scale_of_1() -> None:
    assert LossScale(0.0).value == 1


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_graphs_on_gpus_are_mixed(tmp_path: Path, device: str) -> None:
    trainer, _ = make_trainer(tiny_config(tmp_path), tiny_network())
    tiny = trainer.train_step
    world = replace(tiny.world, device=device)  # nothing is computed
    step = TrainStep(StepOptions(use_fp16=True, freeze_backbone_steps=1), world, tiny.backbone, tiny.head)
    for is_frozen in (True, False):
        graph, _ = step._graph(is_frozen, 4, updates_early=False)
        assert graph.config.proto.enable_auto_mixed_precision == (device == "cuda")


def test_transfers_on_a_cpu_are_announced() -> None:
    given = {"lr", "nccl_fusion_max_ops"}
    (said,) = describe_transfers(given, "cpu")
    assert said == "--nccl_fusion_max_ops has no effect: it is about transfers between GPUs"
    assert describe_transfers(given, "cuda") == describe_transfers({"lr"}, "cpu") == []


def test_transfers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for name in ("set_fusion_threshold_mbytes", "set_fusion_max_ops_num", "enable_use_buffer_to_fuse_all_reduce"):
        monkeypatch.setattr(flow.boxing.nccl, name, told.append)
    numbers = {"nccl_fusion_threshold_mb": 16, "nccl_fusion_max_ops": 64}
    configure_transfers({**SETTINGS, **numbers, "device": "cpu"})
    configure_transfers({**SETTINGS, "use_fp16": False, "nccl_fusion_threshold_mb": 0, "nccl_fusion_max_ops": 0})
    assert told == []
    configure_transfers({**SETTINGS, **numbers})
    assert told == [16, 64, False]
