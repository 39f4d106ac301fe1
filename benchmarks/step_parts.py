"""Run a rank of the step benchmark: training steps, with and without pauses between their parts, and their times."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from backbones import build_backbone
from backbones.graph.masks import draw_keep_masks
from benchmarks.train_graphs import BackboneTrainGraph
from common.files import atomic_file
from data.loading.batches import Batch
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from engine.options import StepOptions
from engine.preflight import open_source
from engine.step import ComingUpdate, TrainStep
from launch.rank import RankReporter
from launch.world import World, join_world
from ops import flow
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from settings.complete import complete_config
from settings.config import Config

WARM_UP_STEPS = 2
Times = dict[str, list[float]]


class _Parts:
    """The parts of a run that ``engine.trainer.Trainer`` combines."""

    def __init__(self, config: Config, world: World) -> None:
        self.config, self.world = config, world
        self.backbone = build_backbone(config, config.seed).to_global(world.placement, flow.sbp.broadcast)
        self.backbone.train()
        self.masks = list(self.backbone.masks.values())

    def open_loader(self) -> BatchLoader:
        """Open the loader of the run."""
        options = DataOptions.from_config(self.config)
        return BatchLoader(open_source(self.config), options, self.world.rank, self.world.size)

    def spread(self, batch: Batch, *others: np.ndarray) -> list[flow.Tensor]:
        """Return the images, ``others`` and the dropout keep mask as global tensors, split(0)."""
        keep = draw_keep_masks(self.config.seed, batch.position, len(batch.labels), self.masks)
        return [self.world.split(array) for array in (batch.images, *others, keep)]

    def finish(self) -> None:
        """Wait until this rank's pending work is done."""
        flow._oneflow_internal.eager.Sync()


def _measure_steps(parts: _Parts, steps: int, beat: Callable[[], None]) -> Times:
    """Return the seconds of whole steps and, from every second step, of its parts with a wait after each."""
    head = build_head(HeadOptions.from_config(parts.config), parts.world)
    train_step = TrainStep(StepOptions.from_config(parts.config), parts.world, parts.backbone, head)
    times: Times = {"whole step": [], "next batch": [], "graph call": [], "update": []}
    with parts.open_loader() as loader:
        for number in range(2 * (steps + WARM_UP_STEPS)):
            stops = number % 2 == 1
            start = time.perf_counter()
            batch = next(loader)
            marks = [start, time.perf_counter()]
            result = train_step.compute(batch, number, coming=ComingUpdate(1.0))
            if stops:
                parts.finish()
            marks.append(time.perf_counter())
            train_step.update(result, 1.0)
            parts.finish()
            marks.append(time.perf_counter())
            beat()
            if number < 2 * WARM_UP_STEPS:
                continue
            if stops:
                for name, begin, end in zip(("next batch", "graph call", "update"), marks, marks[1:], strict=False):
                    times[name].append(end - begin)
            else:
                times["whole step"].append(marks[-1] - start)
    return times


def _measure_backbone(parts: _Parts, steps: int, beat: Callable[[], None]) -> Times:
    """Return the seconds of graph calls on the backbone alone."""
    memory = parts.backbone.allocate_memory(parts.config["train_batch_size"] // parts.world.size)
    graph = BackboneTrainGraph(parts.backbone, in_place=memory is not None)
    references = [] if memory is None else [parts.world.split(memory.reference)]
    times: Times = {"backbone": []}
    with parts.open_loader() as loader:
        for number in range(steps + WARM_UP_STEPS):
            batch = next(loader)
            targets = np.zeros((len(batch.labels), parts.backbone.network.embedding_size), np.float32)
            start = time.perf_counter()
            loss, *_ = parts.backbone.run_graph(graph, *parts.spread(batch, targets), *references)
            loss.to_local().numpy()
            parts.finish()
            if number >= WARM_UP_STEPS:
                times["backbone"].append(time.perf_counter() - start)
            beat()
    return times


MEASUREMENTS = {"step": _measure_steps, "backbone": _measure_backbone}


def measure_part(name: str, steps: int, result: Path, config: Config, reporter: RankReporter) -> None:
    """Run measurement ``name`` as one rank; rank 0 writes the seconds of every step to ``result`` as JSON.

    The JSON also holds ``peak_bytes``, the peak memory of rank 0.
    """
    world = join_world(config.device)
    parts = _Parts(complete_config(config, world.size, config.device), world)
    times = MEASUREMENTS[name](parts, steps, reporter.heartbeat)
    if world.rank == 0:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        with atomic_file(result, "w") as file:
            json.dump({"times": times, "executor": parts.backbone.executor, "peak_bytes": peak}, file)
    world.barrier()
