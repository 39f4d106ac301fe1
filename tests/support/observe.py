"""What the settings of a run do, seen from outside: each function takes resolved settings and returns a plain value."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones import NETWORKS, build_backbone, build_network
from backbones.execution.backbone import Backbone
from backbones.graph.flops import count_parameters
from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from data.loading.batches import Batch
from engine import preflight
from engine.embedder import Embedder
from engine.optimizer import Optimizer
from engine.options import OptimizerOptions
from engine.step import StepResult, TrainStep
from engine.teacher_model import open_teacher
from engine.train import train
from interchange.onnx.writer import write_onnx
from interchange.pretrained import read_pretrained
from launch.rank import RankReporter
from launch.supervisor import Supervisor
from launch.world import configure_transfers, join_world
from ops import flow
from ops.heads.base import Head
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from ops.heads.partial_fc import PartialFCHead
from ops.rows.storage import RowStorage
from ops.runtime.tensors import local_view
from settings.complete import complete_config
from settings.config import Config
from settings.places import run_directory, storage_directory
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.foreign_onnx import torch_style
from tests.support.supervise import start_supervisor
from tests.support.tiny import IMAGE_SIZE, read_metrics, tiny_network

Observer = Callable[[Config], Any]


def or_error(observer: Observer) -> Observer:
    """Return the observer that sees the first words of an error's message where there is one."""

    def observe(config: Config) -> Any:
        try:
            return observer(config)
        except UserError as error:
            return "error: " + " ".join(str(error).split()[:3])

    return observe


# ------------------------------------------------------------------------------------------------ before any training


@functools.cache
def structure(key: str) -> Observer:
    """Return the observer of one fact of the network that would be built."""

    def observe(config: Config) -> Any:
        graph = build_network(config)
        facts = {
            "emb_size": graph.embedding_size,
            "dropout": any(node.op == "dropout" for node in graph.nodes),
            "bn_mom": {node.attrs["momentum"] for node in graph.nodes if node.op == "batch_norm"},
            "parameters": count_parameters(graph),
            "input": graph.shapes["data"],
            "first": graph.nodes[1].op,
            "images": tuple(graph.nodes[1].attrs.values()),
            "ops": {node.op for node in graph.nodes},
        }
        return facts[key]

    return observe


def skipped_units(config: Config) -> list[float]:
    """Return the share of images that skip each unit of the network in training."""
    return [node.attrs["p"] for node in build_backbone(config).network.nodes if node.op == "drop_path"]


def executor(config: Config) -> str:
    """Return how the backbone would compute."""
    return build_backbone(config).executor


def executor_of_a_rank(config: Config) -> str:
    """Return how the backbone of a run on the CPU would compute."""
    return executor(complete_config(config, 1, "cpu"))


def transfers(config: Config) -> list[int]:
    """Return what OneFlow would be told about transfers between GPUs."""
    told: list[int] = []
    names = ("set_fusion_threshold_mbytes", "set_fusion_max_ops_num")
    originals = [getattr(flow.boxing.nccl, name) for name in names]
    try:
        for name in names:
            setattr(flow.boxing.nccl, name, told.append)
        configure_transfers({**config, "device": "cuda"})
    finally:
        for name, original in zip(names, originals, strict=True):
            setattr(flow.boxing.nccl, name, original)
    return told


def run_name(config: Config) -> str:
    """Return the name of the run's folders."""
    return run_directory(config, config.models_root).name


def executor_of_two_ranks(config: Config) -> str:
    """Return how the backbone would compute on each of two ranks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow.env, "get_world_size", lambda: 2)
        return executor(config)


def environment(config: Config) -> list[str]:
    """Return RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT (0 when chosen freely) of the first of two ranks here.

    Other nodes run beside this one on the same machine.
    """
    folder = Path(config.log_dir)
    script = 'echo $RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT > "$0/$LOCAL_RANK.env"'
    with contextlib.ExitStack() as stack:
        for other in set(range(config.num_nodes)) - {config.node_rank}:
            settings = {**config, "node_rank": other}
            timeout = settings.pop("rank_timeout")
            stack.enter_context(start_supervisor(folder / f"node-{other}", 2, ["true"], timeout, **settings))
        assert Supervisor(config, 2, folder).run(["sh", "-c", script, str(folder)]) == 0
    values = min(folder.glob("*.env")).read_text().split()
    chosen = config.num_nodes > 1 or config.master_port == 0
    return [*values[:3], "0" if chosen else values[3]]


def patience(config: Config) -> int:
    """Return the exit code of a supervised rank that is silent for 2 seconds."""
    return Supervisor(config, 1, Path(config.log_dir)).run([sys.executable, "-c", "import time; time.sleep(2)"])


def announcement(config: Config) -> list[str]:
    """Return the first two words of the lines that the launching process prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        preflight.check_run(complete_config(config, 1, "cpu"), 1)
    return [" ".join(line.split()[:2]) for line in out.getvalue().splitlines()]


def source(config: Config) -> tuple[str, int]:
    found = preflight.open_source(config)
    return type(found).__name__, len(found)


def batch_of_three_ranks(config: Config) -> int:
    return complete_config(config, 3, "cpu").train_batch_size


# ------------------------------------------------------------------------------------------------ head and optimiser


def head(config: Config) -> Head:
    world = join_world("cpu")
    return build_head(HeadOptions.from_config(config), world)


def rows_per_step(config: Config) -> int:
    """Return how many class rows one step sees."""
    built = head(config)
    return built.sampling.slots if isinstance(built, PartialFCHead) else built.shards.rows


def folders_of_mapped_rows(config: Config) -> list[str]:
    """Return in which folders the nameless files lie that a head has mapped."""
    world = join_world("cpu")
    built = build_head(HeadOptions.from_config(config), world, RowStorage(storage_directory(config)))
    root = str(Path(config.models_root).parent)
    maps = [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    del built
    return [Path(path).parent.name for path in maps if path.startswith(root) and path.endswith("(deleted)")]


HEAD_LABELS = np.array([1, 5, 0, 3], np.int32)
HEAD_SIZES = np.array([3, 1, 4, 1, 5, 9, 2])


def head_embeddings(width: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (len(HEAD_LABELS), width)).astype(np.float32)


def head_loss(config: Config) -> float:
    """Return the loss of fixed embeddings."""
    built = build_head(replace(HeadOptions.from_config(config), class_sizes=HEAD_SIZES[: config.num_classes]))
    return float(built(flow.tensor(head_embeddings(config.emb_size)), *built.prepare(HEAD_LABELS, 0)).loss.numpy())


@functools.cache
def movement(kind: str, step: int = 1) -> Observer:
    """Return the observer of how far a gradient of 1 moves a parameter that was 1, in a given step.

    ``kind`` is weight, bias (both the backbone's) or fc7.
    """

    def observe(config: Config) -> float:
        world, network = join_world("cpu"), tiny_network()
        ones = {name: np.ones_like(array) for name, array in initial_arrays(network, 1).items()}
        backbone = Backbone(network, ones).to_global(world.placement, flow.sbp.broadcast)
        built = head(config)
        local_view(built.weight).fill_(1.0)
        optimizer = Optimizer(backbone, built, OptimizerOptions.from_config(config))
        parameters = [*backbone.parameters(), *built.parameters()]
        watched = {"weight": backbone.fc1_weight, "bias": backbone.fc1_bias, "fc7": built.weight}[kind]
        for _ in range(step):
            before = local_view(watched).numpy().ravel()[0]
            built.prepare(HEAD_LABELS, 0, world)  # which rows take part: all
            optimizer.step([flow.ones_like(parameter) for parameter in parameters], 1.0)
        return float(before - local_view(watched).numpy().ravel()[0])

    return observe


# ------------------------------------------------------------------------------------------------ a training run


@contextlib.contextmanager
def _tiny_registered() -> Iterator[None]:
    NETWORKS["tiny"] = lambda _: tiny_network(dropout=0.4, batch_norm=True)
    try:
        yield
    finally:
        del NETWORKS["tiny"]


@contextlib.contextmanager
def without_graphs() -> Iterator[list[Batch]]:
    """Steps leave the network as it is, and embeddings are pixels: no graph is compiled. Yields the batches taken."""
    batches = []

    def compute(self: TrainStep, batch: Batch, step: int, stop_requested: bool = False, *_: object) -> StepResult:
        batches.append(replace(batch, images=batch.images.copy()))
        return StepResult(1.0, 1.0, 0.0, stop_requested, [])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainStep, "compute", compute)
        patch.setattr(TrainStep, "update", lambda self, result, *_, **__: result)
        patch.setattr(Embedder, "embed_parts", lambda self, mine: mine.reshape(len(mine), -1)[:, :16].astype("f4"))
        yield batches


def run(config: Config, reporter: RankReporter | None = None) -> Config:
    """Train the tiny network as a rank does, in this process, and return the settings it ran with."""
    changed = {**config, "net_name": "tiny", "image_size": IMAGE_SIZE, "emb_size": 16}
    with _tiny_registered():
        tiny = complete_config(changed, 1, "cpu")
        train(tiny, reporter or RankReporter())
    return tiny


def around_steps(observer: Observer) -> Observer:
    """Return the observer of a run whose steps compute nothing: what it sees does not depend on the network."""

    def observe(config: Config) -> Any:
        with without_graphs():
            return observer(config)

    return observe


def batches(config: Config) -> list[int]:
    """Return a checksum of the images of each step."""
    with without_graphs() as taken:
        run(config)
    return [zlib.crc32(batch.images) for batch in taken]


@or_error
def losses(config: Config) -> list[float]:
    """Return the loss of every training line of the metrics."""
    return [round(line["loss"], 6) for line in read_metrics(run(config))]


@or_error
def steps(config: Config) -> list[int]:
    """Return the step of every training line of the metrics."""
    return [line["step"] for line in read_metrics(run(config))]


@functools.cache
def logged(key: str) -> Observer:
    """Return the observer of ``key``, which the plan alone decides, in every training line of the metrics."""
    return around_steps(lambda config: [round(line[key], 6) for line in read_metrics(run(config))])


@around_steps
def head_steps(config: Config) -> list[int]:
    """Return the steps whose metrics say how the class centres lie."""
    return [line["step"] for line in read_metrics(run(config), "head")]


@around_steps
def shows_lossvalue(config: Config) -> tuple[bool, bool]:
    """Return whether the lines of the log have a lossvalue, and whether the metrics have."""
    ran = run(config)
    text = (run_directory(ran, ran.log_dir) / "train.log").read_text()
    return "lossvalue=" in text, "lossvalue" in read_metrics(ran)[0]


@around_steps
def log_place(config: Config) -> str:
    """Return the name of the folder that holds the run's folder with train.log."""
    (found,) = Path(config.models_root).parent.rglob("train.log") if run(config) else ()
    return found.parent.parent.name


@around_steps
def verified_steps(config: Config) -> dict[str, list[int]]:
    """Return the steps at which each set was verified."""
    ran = run(config)
    return {name: [line["step"] for line in read_metrics(ran, name)] for name in ("first", "second")}


@around_steps
def evaluated_protocols(config: Config) -> dict[str, list[str]]:
    """Return the names of the numbers of each protocol, which are those of every verification."""
    ran = run(config)
    found = {}
    for name in ("identify", "groups"):
        lines = read_metrics(ran, name)
        if lines:
            assert [line["step"] for line in lines] == [1, 2]
            found[name] = sorted({*lines[0]} & {*lines[1]} - {"step", "kind", "time"})
    return found


@around_steps
def measured_rates(config: Config) -> list[str]:
    """Return the names of the numbers at a false accept rate in the metrics of a verification."""
    return [name for name in read_metrics(run(config), "first")[0] if "_at_far_" in name]


@around_steps
def snapshots(config: Config) -> dict[str, list[str]]:
    """Return the kinds of files in every snapshot of a run."""
    root = run_directory(config, run(config).models_root)
    found = sorted(root.glob("snapshot_*"))
    return {path.name: sorted(file.name.split("-")[0].split(".")[0] for file in path.iterdir()) for path in found}


@around_steps
def snapshot_place(config: Config) -> str:
    """Return the name of the folder that holds the run's folder of snapshots."""
    before = set(Path(config.models_root).parent.rglob("snapshot_*"))
    run(config)
    (path,) = set(Path(config.models_root).parent.rglob("snapshot_*")) - before
    return path.parent.parent.name


@around_steps
def data_workers(config: Config) -> int:
    """Return how many data workers a rank has after its first step."""
    counts = []

    class Counting(RankReporter):
        def heartbeat(self) -> None:
            counts.append(sum(_is_worker(path) for path in Path("/proc").glob("[0-9]*")))

    run(config, Counting())
    return counts[0]


def _is_worker(process: Path) -> bool:
    try:
        parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
        return parent == os.getpid() and b"data.loading.worker" in (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@around_steps
def start(config: Config) -> tuple[int, bool]:
    """Return the first step of a run at lr 0, and whether its backbone is that of the snapshot below ``given``."""
    ran = run(config)
    given = Snapshot.open(next(Path(config.log_dir).parent.glob("given/*/snapshot_*")))
    newest = Snapshot.open(newest_snapshot(run_directory(ran, ran.models_root)))
    same = (newest.backbone()["fc1_weight"] == given.backbone()["fc1_weight"]).all()
    return read_metrics(ran)[0]["step"], bool(same)


def kept_arrays(config: Config) -> int | str:
    """Return how many arrays of ``pretrained`` a tiny network with another embedding length takes over."""
    network = tiny_network(dropout=0.4, batch_norm=True, emb_size=24)
    try:
        return len(read_pretrained(config.pretrained, network, config).arrays)
    except UserError:
        return "refused"


def channels_of_a_file(config: Config) -> str:
    """Return how the first convolution of an ONNX file that does not say its order of channels is taken over."""
    network = tiny_network()
    arrays = initial_arrays(network, 1)
    path = Path(config.log_dir).parent / "order.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_onnx(network, arrays, {}).SerializeToString())
    name = next(node.arrays["weight"] for node in network.nodes if node.op == "conv")
    taken = read_pretrained(str(path), network, config).arrays[name]
    return next(way for way, step in (("same", 1), ("swapped", -1)) if np.array_equal(taken, arrays[name][:, ::step]))


def teacher_input(config: Config) -> tuple[str, float, float]:
    """Return how a teacher takes images whose file says nothing: order of channels, mean, divisor."""
    network = tiny_network(batch_norm=True)
    arrays = initial_arrays(network, 1)
    path = Path(config.log_dir).parent / "bare.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(torch_style(network, arrays, folded=False).SerializeToString())
    taught = open_teacher(config.replaced(teacher=str(path), image_size=IMAGE_SIZE))
    conv = next(node for node in taught.network.nodes if node.op == "conv")
    shift = next(node for node in taught.network.nodes if node.op == "scale_shift").attrs
    weight, own = taught.arrays[conv.arrays["weight"]], arrays["conv0_weight"]
    order = next(way for way, step in (("same", 1), ("swapped", -1)) if np.array_equal(weight, own[:, ::step]))
    return order, shift["mean"], round(1 / shift["scale"], 4)


def teacher_files(config: Config) -> int:
    """Return the number of files with embeddings of teachers after a run."""
    run(config)
    return len(list(Path(config.models_root).glob("teachers/*")))


@around_steps
def class_rows_of_given(config: Config) -> list[int]:
    """Return the classes that have the row of class 5 of the snapshot below ``given`` after a run at lr 0."""
    ran = run(config)
    given = Snapshot.open(next(Path(config.log_dir).parent.glob("given/*/snapshot_*"))).head_rows(5, 6)["fc7_weight"]
    newest = Snapshot.open(newest_snapshot(run_directory(ran, ran.models_root))).head_rows(0, 31)["fc7_weight"]
    return np.flatnonzero((newest == given).all(axis=1)).tolist()


@around_steps
def verification_batch(config: Config) -> int:
    """Return the batch size of the run's verification."""
    sizes = []
    original = Embedder.__init__

    def record(self: Embedder, *args: Any) -> None:
        original(self, *args)
        sizes.append(self.batch_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Embedder, "__init__", record)
        run(config)
    return sizes[0]
