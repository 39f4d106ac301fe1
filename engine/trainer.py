"""The training loop: next batch, one graph call, one update, then log, verify, save."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from common.errors import UserError
from data.batches import Batch, Batches
from data.source import ImageSource
from engine.batches import open_batches
from engine.checkpoints import HighestAccuracy
from engine.head_stats import head_statistics
from engine.log import RunLog, StepMeter, format_seconds
from engine.memory import has_room
from engine.saving import average_statistics, load_backbone, load_head, read_head
from engine.schedule import Plan, find_lr_scale
from engine.step import Computed, TrainStep
from engine.verifier import Validator
from evaluation.verification import highest_line, log_lines
from launch.rank import RankReporter
from launch.world import World, local_view
from ops import flow
from ops.heads.base import Head
from ops.moments import MOMENTS
from settings.choices import ALL_SNAPSHOTS, BEST_SNAPSHOT, NO_SNAPSHOTS
from settings.places import run_directory
from snapshots.label_map import LabelMap
from snapshots.layout import describe_network, snapshot_path
from snapshots.reader import Snapshot
from snapshots.writer import Contents, SnapshotWriter, remove_snapshot

_DIVERGED = (
    "the snapshots so far are untouched: resume from the last one with a smaller --lr "
    "(or smaller --loss_s, or start from a softmax snapshot)"
)


class Trainer:
    """One run. Data parallel, model parallel and Partial FC are the same loop with another form of the head.

    Attributes:
        step: finished steps.
        position: images taken from the training stream so far, over all ranks.
        optimizer: it keeps the moments.
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
        label_map: LabelMap | None = None,
    ) -> None:
        """Take the modules (global tensors already) and, to resume, the snapshot they are to be filled from.

        With a label map, class rows and their moments change places.
        """
        self.config = config
        self.world = world
        self.backbone = backbone
        self.head = head
        self.plan = plan
        self.step = self.position = 0
        self.validator: Validator | None = None
        self._reporter = reporter
        self._root = run_directory(config, config["models_root"])
        self._highest = HighestAccuracy()
        self._best_step: int | None = None
        self._obsolete: Path | None = None
        self._norm: float | None = None
        self._saved_step = -1
        self._batches: Batches | None = None
        self._data_state: dict[str, np.ndarray] = {}
        self._writer = SnapshotWriter(world.rank, world.barrier, _DIVERGED)
        self._train_step = TrainStep(config, world, backbone, head)
        self.optimizer = self._train_step.optimizer
        if snapshot is not None:
            self._load(snapshot, label_map)
        self.log = RunLog(log_dir, active=world.rank == 0, start_step=self.step)

    def run(self, source: ImageSource) -> None:
        """Train until the plan is fulfilled or a stop is asked for, then write the last snapshot.

        Raises:
            UserError: the loss is no number any more, or a record of the data is bad.
        """
        config = self.config
        self._batches = open_batches(
            config,
            source,
            self.world,
            self.backbone,
            (self.step, self.position),
            self._data_state,
            self.log,
            self._reporter,
        )
        with self._batches as loader:
            meter = StepMeter(config["train_batch_size"])
            stopping = False
            while self.step < self.plan.total_steps and not stopping:
                batch = next(loader, None)
                if batch is None:
                    self.log.say(f"no batch is left after step {self.step}: the network tells these people apart")
                    break
                computed = self._do_step(batch)
                meter.add(computed.loss, computed.shown, computed.correct)
                stopping = computed.stop
                self._say_saved(self._writer.poll())
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
        keeps = config["ckpt"] != NO_SNAPSHOTS
        if config["save_last_snapshot"] or (stopping and keeps):
            self.save()
        self.finish_saving()
        if stopping:
            then = "--resume goes on from there" if keeps else "--ckpt 0 keeps no snapshot"
            self.log.say(f"stopped after step {self.step}; {then}")
        self.log.close()
        self.world.barrier()  # rank 0 is late with its files; a rank that finds another one gone aborts

    def _do_step(self, batch: Batch) -> Computed:
        """Do one step; return what it computed, of which the gradients are used up."""
        computed = self._train_step.compute(batch, self.step, self._reporter.stop_requested)
        update = self._train_step.update(computed, find_lr_scale(self.step, self.plan, self.config))
        if update.diverged:
            what = "loss" if not math.isfinite(computed.loss) else "norm of the gradient"
            value = computed.loss if what == "loss" else update.norm
            self.finish_saving()  # what was good before is kept; all ranks are here
            self.world.barrier()
            raise UserError(f"the {what} is {value} at step {self.step + 1}; {_DIVERGED}")
        self.step += 1
        self.position += self.config["train_batch_size"]
        if update.skipped:
            scale = self._train_step.loss_scale.value
            self.log.say(f"step {self.step} changed nothing, its gradients overflowed: fp16_scale is {scale:g} now")
        self._norm = None if update.skipped else update.norm  # JSON knows no infinity
        self._reporter.heartbeat()
        return computed

    def _log_step(self, values: dict[str, float]) -> None:
        lr = self.config["lr"] * find_lr_scale(self.step - 1, self.plan, self.config)
        epoch, in_epoch = divmod(self.step - 1, self.plan.steps_per_epoch)
        speed = values["images_per_second"]
        shown = f"lossvalue={values['lossvalue']:.6f}\t" if self.config["ce_loss"] else ""
        left = (self.plan.total_steps - self.step) * self.config["train_batch_size"] / speed
        self.log.say(
            f"Epoch[{epoch}] Batch [{in_epoch + 1}/{self.plan.steps_per_epoch}]\tSpeed: {speed:.2f} samples/sec\t"
            f"acc={values['acc']:.6f}\t{shown}lr={lr:g}\tstep={self.step}\t"
            f"data_wait={values['data_wait']:.1%}\tETA {format_seconds(left)}"
        )
        values = {**values, "lr": lr, "epoch": epoch}
        if not self.config["ce_loss"]:
            del values["lossvalue"]
        if self._norm is not None:
            values["gradient_norm"] = self._norm
        if self.config["fp16_scale_window"]:
            values["loss_scale"] = self._train_step.loss_scale.value
        self.log.record(self.step, "train", values)

    def validate(self) -> None:
        """Verify on every set, log InsightFace's lines, and keep what is better where ``ckpt`` says so. Collective."""
        average_statistics(self.backbone, self.world)
        results = self.validator.run()
        for result in results:
            self.log.say(*log_lines(result, self.step))
            values = {"accuracy": result.accuracy, "accuracy_std": result.accuracy_std, "xnorm": result.xnorm}
            self.log.record(self.step, result.name, values)
        is_highest = self._highest.judge([result.accuracy for result in results])
        self.log.say(highest_line(self._highest.accuracy, self.step))
        if is_highest and self.config["ckpt"] not in (NO_SNAPSHOTS, ALL_SNAPSHOTS):
            before, self._best_step = self._best_step, self.step
            self.save()
            if self.config["ckpt"] == BEST_SNAPSHOT and before is not None:
                self._obsolete = snapshot_path(self._root, before)

    def save(self) -> None:
        """Begin to write the snapshot of this step, unless it was the last one. A collective call.

        Training waits for the one before, and until the arrays are copied; where memory is too short for copies of the
        class rows it waits for the writing.
        """
        if self._saved_step == self.step:
            return
        self.finish_saving()
        average_statistics(self.backbone, self.world)
        about, weights = self._describe(), self.backbone.named_arrays()
        moments, data, shard, copy = {}, {}, None, True
        if not self.config["ckpt_embedding"]:
            data = self._data_state if self._batches is None else self._batches.read_state()
            rows = sum(local_view(p).nelement() * 4 for p in self.head.parameters())
            wanted = rows * (1 + len(MOMENTS[self.config["optimizer"]]))
            copy = self.config["fc7_storage"] == "memory" and has_room(wanted, self.world.local_size)
            read = self.optimizer.read_moments(copy)
            moments = {kind: {n: a for n, a in own.items() if not n.startswith("fc7_")} for kind, own in read.items()}
            shard, about["fc7"] = read_head(self.head, read, self.world, copy)
        path = snapshot_path(self._root, self.step)
        self._writer.start(path, Contents(about, weights, moments, data), shard, background=copy)
        self._saved_step = self.step

    def finish_saving(self) -> None:
        """Wait for the writing of a snapshot.

        Raises:
            UserError: it cannot be written, or its weights are no numbers.
        """
        self._say_saved(self._writer.finish(self._reporter.heartbeat))

    def _say_saved(self, path: Path | None) -> None:
        if path is not None:
            self.log.say(f"snapshot: {path}")
            if self._obsolete is not None and self.world.rank == 0:
                remove_snapshot(self._obsolete)
            self._obsolete = None

    def _describe(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "position": self.position,
            "epoch": self.step // self.plan.steps_per_epoch,
            "seed": self.config["seed"],
            "ranks": self.world.size,
            "highest_accuracy": self._highest.accuracy,
            "highest_tied_sum": self._highest.tied_sum,
            "best_step": self._best_step,
            "config": dict(sorted(self.config.items())),
            "optimizer": self._train_step.describe(),
            **describe_network(self.backbone.network),
            "versions": {"python": platform.python_version(), "oneflow": flow.__version__, "numpy": np.__version__},
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _load(self, snapshot: Snapshot, label_map: LabelMap | None) -> None:
        about = snapshot.about
        self.step, self.position = about["step"], about["position"]
        self._highest.accuracy = about["highest_accuracy"]
        self._highest.tied_sum = about.get("highest_tied_sum", 0.0)
        self._best_step = about.get("best_step")
        load_backbone(self.backbone, snapshot)
        self.head.loss.load_state(about["fc7"].get("loss_state", {}))
        self._train_step.load_state(snapshot.optimizer, snapshot.moments())
        kinds = MOMENTS[snapshot.optimizer["name"]]
        load_head(self.head, snapshot, label_map, kinds, self.optimizer.load_rows)
        self._data_state = snapshot.data()
        if label_map is None:
            self._saved_step = self.step
