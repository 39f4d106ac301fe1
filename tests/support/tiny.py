"""A network that trains in milliseconds, and a trainer for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from easydict import EasyDict

import sample_config
from backbones.graph.initializer import initial_arrays
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import add_image_input
from backbones.networks.options import NetworkOptions
from data.sources.synthetic import SyntheticSource
from engine.preflight import starting_label_map, starting_progress, starting_snapshot
from engine.schedule import make_plan
from launch.rank import RankReporter
from settings.config_file import merge
from settings.places import run_directory, storage_directory
from settings.tables import sample_tables

IMAGE_SIZE = 16
EMB_SIZE = 16


def tiny_network(dropout: float = 0.0, batch_norm: bool = False, emb_size: int = EMB_SIZE) -> NetworkGraph:
    """conv, BatchNorm, PReLU, FC. Without BatchNorm, or with ``sync_bn``, the ranks do not change results."""
    graph = NetworkGraph()
    x = add_image_input(graph, NetworkOptions("tiny", image_size=IMAGE_SIZE))
    x = graph.conv(x, "conv0", 8, kernel=3, stride=2, pad=1, bias=True)
    if batch_norm:
        x = graph.batch_norm(x, "bn0", 2e-5)
    x = graph.prelu(x, "relu0")
    if dropout:
        x = graph.dropout(x, "dropout0", dropout)
    x = graph.flatten(x, "flatten0")
    graph.fully_connected(x, "fc1", emb_size)
    return graph


def tiny_config(folder: Path, loss: str = "arcface", **changes: Any) -> EasyDict:
    """Return complete settings of a short run that writes below ``folder``; ``changes`` override."""
    config = EasyDict(merge(sample_tables(), "y1", "orl", loss))
    config.update({key: sample_config.default[key] for key in ("train_unit", "weight_decay", "momentum", "optimizer")})
    config.update(
        data_shift=0.0,
        data_zoom=0.0,
        device="cpu",
        use_synthetic_data=True,
        num_classes=31,
        total_img_num=93,
        image_size=IMAGE_SIZE,
        emb_size=EMB_SIZE,
        train_batch_size=8,
        num_workers=0,
        train_iter=20,
        lr=0.02,
        lr_steps=[],
        scales=[],
        images_per_identity=3,
        triplet_bag_size=60,
        loss_s=16.0,
        loss_print_frequency=1,
        iter_num_in_snapshot=0,
        save_last_snapshot=False,
        do_validation_while_train=False,
        models_root=str(folder / "models"),
        log_dir=str(folder / "log"),
        val_targets=[],
    )
    config.update(changes)
    return config


def make_trainer(config: EasyDict, network: NetworkGraph, reporter: RankReporter | None = None) -> tuple:
    """Return (trainer, source) as ``engine.train`` puts them together, around ``network``."""
    from backbones.execution.backbone import Backbone
    from engine.log import RunLog
    from engine.options import StepOptions
    from engine.saving import Saver
    from engine.step import TrainStep
    from engine.teacher import Teacher
    from engine.teacher_model import open_teacher
    from engine.teacher_rows import find_teacher_rows
    from engine.train import head_options, teach_classes
    from engine.trainer import Trainer
    from launch.world import join_world
    from ops import flow
    from ops.heads.build import build_head
    from ops.rows.storage import RowStorage

    world, reporter = join_world(config.device), reporter or RankReporter()
    source = SyntheticSource(config.total_img_num, config.num_classes, config.image_size, config.seed)
    snapshot, label_map = starting_snapshot(config), starting_label_map(config)
    modes = {"bfloat16": config.use_bf16, "sync_bn": config.sync_bn, "freeze_bn": config.freeze_bn}
    backbone = Backbone(network, initial_arrays(network, config.seed), config.native_ops, **modes)
    backbone = backbone.to_global(world.placement, flow.sbp.broadcast)
    head = build_head(head_options(config, source), world, RowStorage(storage_directory(config)))
    start_step = snapshot.about["step"] if snapshot is not None else 0
    log = RunLog(run_directory(config, config.log_dir), world.rank == 0, start_step)
    plan = make_plan(config, len(source), starting_progress(snapshot, source))
    model = open_teacher(config)
    teach_classes(head, find_teacher_rows(config, model))
    teacher = None if model is None else Teacher(model, config, world)
    if teacher is not None and config.teacher_cache:
        teacher.open_cache(config, source, log, reporter)
    train_step = TrainStep(StepOptions.from_config(config), world, backbone, head, teacher)
    saver = Saver(config, plan, train_step, log, reporter)
    if snapshot is not None:
        saver.load(snapshot, label_map)
    return Trainer(config, plan, train_step, saver, log, reporter), source


def train(config: EasyDict, network: NetworkGraph, reporter: RankReporter | None = None) -> Any:
    """Run to the end and return the trainer."""
    trainer, source = make_trainer(config, network, reporter)
    trainer.run(source)
    return trainer


def read_metrics(config: EasyDict, kind: str = "train") -> list[dict[str, Any]]:
    """Return the lines of ``kind`` of the run's metrics.jsonl."""
    text = (run_directory(config, config.log_dir) / "metrics.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if line["kind"] == kind]


def read_losses(config: EasyDict) -> list[tuple[int, float]]:
    """Return (step, loss) of every logged step."""
    return [(line["step"], line["loss"]) for line in read_metrics(config)]
