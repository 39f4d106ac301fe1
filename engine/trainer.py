"""The training loop: next batch, one graph call, one update, then log, verify, save."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backbones.module import Backbone
from common.errors import UserError
from data.augment import Augmentation
from data.loader import Batch, BatchLoader
from data.source import ImageSource
from engine.dropout import draw_keep_masks
from engine.graphs import TrainGraph
from engine.head_stats import head_statistics
from engine.log import RunLog, StepMeter, format_seconds
from engine.optimizer import SGD
from engine.paths import run_directory
from engine.reporting import RankReporter
from engine.schedule import Plan, step_scale
from engine.snapshot import Contents, Snapshot, snapshot_path, write_snapshot
from engine.state import average_statistics, describe_backbone, load_backbone, load_head, read_head
from engine.validation import Validator
from engine.world import World
from evaluation.verification import highest_line, log_lines
from ops import flow
from ops.base_head import Head

_DIVERGED = (
    "the snapshots so far are untouched: resume from the last one with a smaller --lr "
    "(or smaller --loss_s, or start from a softmax snapshot)"
)


class Trainer:
    """One run. Data parallel, model parallel and Partial FC are the same loop with another form of the head.

    Attributes:
        step: finished steps.
        position: images taken from the training stream so far, over all ranks.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        world: World,
        backbone: Backbone,
        head: Head,
        plan: Plan,
        reporter: RankReporter,
        log_dir: Path,
        snapshot: Snapshot | None = None,
    ) -> None:
        """Take the modules (global tensors already) and, to resume, the snapshot they are to be filled from."""
        self.config = config
        self.world = world
        self.backbone = backbone
        self.head = head
        self.plan = plan
        self.step = self.position = 0
        self.validator: Validator | None = None
        self._reporter = reporter
        self._root = run_directory(config, config["models_root"])
        self._highest = 0.0
        self._saved_step = -1
        self._drop = max((n.attrs["p"] for n in backbone.network.nodes if n.op == "dropout"), default=0.0)
        self.optimizer = SGD(backbone, head, config)
        if snapshot is not None:
            self._load(snapshot)
        self.log = RunLog(log_dir, active=world.rank == 0, start_step=self.step)
        self._graph = TrainGraph(backbone, head)

    def run(self, source: ImageSource) -> None:
        """Train until the plan is fulfilled or a stop is asked for, then write the last snapshot.

        Raises:
            UserError: the loss is no number any more, or a record of the data is bad.
        """
        config = self.config
        augmentation = Augmentation(config["data_rand_mirror"], config["data_shift"], config["data_zoom"])
        with BatchLoader(
            source, config["train_batch_size"], self.world.rank, self.world.size, config["seed"], augmentation,
            num_workers=config["num_workers"],
            start_step=self.step, start_position=self.position,
        ) as loader:  # fmt: skip
            meter = StepMeter(config["train_batch_size"])
            stopping = False
            while self.step < self.plan.total_steps and not stopping:
                loss, correct, stopping = self._train_step(next(loader))
                meter.add(loss, correct)
                if self.step % config["loss_print_frequency"] == 0 or self.step == self.plan.total_steps:
                    self._log_step(meter.read(loader.wait_seconds))
                start = time.perf_counter()
                if self.config["head_stats"] and self.step % self.config["head_stats"] == 0:
                    self.log.record(self.step, "head", head_statistics(self.head, self.world))
                if self.validator is not None and self.plan.is_validation(self.step):
                    self.validate()
                if self.plan.is_snapshot(self.step):
                    self.save()
                meter.exclude(time.perf_counter() - start)
        if config["save_last_snapshot"] or stopping:
            self.save()
        if stopping:
            self.log.say(f"stopped after step {self.step}; --resume goes on from there")
        self.log.close()
        self.world.barrier()  # rank 0 is late with its files; a rank that finds another one gone aborts

    def _train_step(self, batch: Batch) -> tuple[float, float, bool]:
        """Do one step; return the batch's mean loss, its correctly classified images, and whether to stop."""
        self.backbone.train()
        keep = draw_keep_masks(
            self.config["seed"], batch.position, len(batch.labels), self.backbone.dropout_width, self._drop
        )
        stop = np.array([self._reporter.stop_requested], np.float32)
        inputs = [self.world.split(a) for a in (batch.images, keep, stop)]
        inputs += self.head.inputs(batch.labels, self.step, self.world)
        metrics, *results = self.backbone.run_graph(self._graph, *inputs)
        gradients = self._graph.keep_moving(self.backbone, self.head, results)
        self.optimizer.step(gradients, step_scale(self.step, self.config["lr_steps"], self.config["scales"]))
        loss, correct, stops = metrics.to_local().numpy().tolist()
        if not math.isfinite(loss):
            raise UserError(f"the loss is {loss} at step {self.step + 1}; {_DIVERGED}")
        self.step += 1
        self.position += self.config["train_batch_size"]
        self._reporter.beat()
        return loss, correct, stops > 0

    def _log_step(self, values: dict[str, float]) -> None:
        lr = self.config["lr"] * step_scale(self.step - 1, self.config["lr_steps"], self.config["scales"])
        epoch, in_epoch = divmod(self.step - 1, self.plan.steps_per_epoch)
        speed = values["images_per_second"]
        left = (self.plan.total_steps - self.step) * self.config["train_batch_size"] / speed
        self.log.say(
            f"Epoch[{epoch}] Batch [{in_epoch + 1}/{self.plan.steps_per_epoch}]\tSpeed: {speed:.2f} samples/sec\t"
            f"acc={values['acc']:.6f}\tlossvalue={values['loss']:.6f}\tlr={lr:g}\tstep={self.step}\t"
            f"data_wait={values['data_wait']:.1%}\tETA {format_seconds(left)}"
        )
        self.log.record(self.step, "train", {**values, "lr": lr, "epoch": epoch})

    def validate(self) -> None:
        """Verify on every set and log InsightFace's lines. A collective call."""
        average_statistics(self.backbone, self.world)
        results = self.validator.run()
        for result in results:
            self.log.say(*log_lines(result, self.step))
            values = {"accuracy": result.accuracy, "accuracy_std": result.accuracy_std, "xnorm": result.xnorm}
            self.log.record(self.step, result.name, values)
        self._highest = max(self._highest, results[-1].accuracy)
        self.log.say(highest_line(self._highest, self.step))

    def save(self) -> None:
        """Write the snapshot of this step, unless it was just written. A collective call."""
        if self._saved_step == self.step:
            return
        average_statistics(self.backbone, self.world)
        path = snapshot_path(self._root, self.step)
        about = self._describe()
        weights, momentum, shard = self.backbone.named_arrays(), None, None
        if not self.config["ckpt_embedding"]:
            buffers = self.optimizer.momentum_arrays()
            momentum = {name: array for name, array in buffers.items() if not name.startswith("fc7_")}
            shard, about["fc7"] = read_head(self.head, buffers, self.world)
        for name, array in {**weights, **(shard.arrays if shard else {})}.items():
            if not np.isfinite(array).all():  # the last update can break what gave a finite loss before it
                raise UserError(f"{name} holds NaN or Inf after step {self.step}; {_DIVERGED}")
        write_snapshot(path, self.world, Contents(about, weights, momentum), shard)
        self._saved_step = self.step
        self.log.say(f"snapshot: {path}")

    def _describe(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "position": self.position,
            "epoch": self.step // self.plan.steps_per_epoch,
            "seed": self.config["seed"],
            "ranks": self.world.size,
            "highest_accuracy": self._highest,
            "config": dict(sorted(self.config.items())),
            **describe_backbone(self.backbone),
            "versions": {"python": platform.python_version(), "oneflow": flow.__version__, "numpy": np.__version__},
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _load(self, snapshot: Snapshot) -> None:
        about = snapshot.about
        self.step, self.position = about["step"], about["position"]
        self._highest = about["highest_accuracy"]
        load_backbone(self.backbone, snapshot)
        momentum = load_head(self.head, snapshot)
        self.optimizer.load_momentum({**snapshot.momentum(), **momentum})
        self._saved_step = self.step
