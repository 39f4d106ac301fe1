"""Writes the snapshots of a run while it trains, and loads the one it resumes from."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from common.errors import UserError
from engine.log import RunLog
from engine.memory import has_room
from engine.schedule import Plan, Progress
from engine.step import TrainStep
from launch.rank import RankReporter
from ops import flow
from ops.moments import MOMENTS
from settings.choices import ALL_SNAPSHOTS, BEST_SNAPSHOT, NO_SNAPSHOTS
from settings.places import run_directory
from snapshots.class_rows import describe_rows, load_head, read_head
from snapshots.label_map import LabelMap
from snapshots.layout import describe_network, snapshot_path
from snapshots.reader import Snapshot
from snapshots.writer import Contents, SnapshotWriter, remove_snapshot

DIVERGED = (
    "the snapshots so far are untouched: resume from the last one with a smaller --lr "
    "(or smaller --loss_s, or start from a softmax snapshot)"
)
_SAME_RUN = ("resume", "model_load_dir", "node_rank")  # settings that do not affect what is trained


class BestSoFar:
    """The rule by which InsightFace's train.py calls a verification the best so far.

    The last set's accuracy decides. If it equals the best one, the sum over all sets decides: it must reach the sum at
    the last tie that was won (0 before the first).

    Attributes:
        accuracy: the last set's best.
        tied_sum: the sum at the last tie that was won.
        step: of the best snapshot; None before the first.
    """

    def __init__(self) -> None:
        self.accuracy = 0.0
        self.tied_sum = 0.0
        self.step: int | None = None

    def update(self, accuracies: Sequence[float]) -> bool:
        """Take in a verification, one accuracy for each set; return whether it is the best so far."""
        last, total = accuracies[-1], sum(accuracies)
        if last < self.accuracy:
            return False
        is_best = last > self.accuracy
        if not is_best and total >= self.tied_sum:
            is_best, self.tied_sum = True, total
        self.accuracy = last
        return is_best


class Saver:
    """Writes the snapshots of a run, and loads the one it resumes from.

    Attributes:
        progress: how far the run has come; the trainer advances it.
        best: the best verification so far.
    """

    def __init__(
        self, config: Mapping[str, Any], plan: Plan, train_step: TrainStep, log: RunLog, reporter: RankReporter
    ) -> None:
        """Take the live modules and optimiser, through ``train_step``."""
        self.progress = Progress()
        self.best = BestSoFar()
        self._config = config
        self._plan = plan
        self._train_step = train_step
        self._log = log
        self._heartbeat = reporter.heartbeat
        self._world = train_step.world
        self._root = run_directory(config, config["models_root"])
        self._writer = SnapshotWriter(self._world.rank, self._world.barrier, DIVERGED)
        self._saved_step = -1
        self._obsolete: Path | None = None

    # ---------------------------------------------------------------------------------------------- writing

    def save(self) -> None:
        """Begin to write a snapshot of the current step unless there is one already. A collective call.

        The call returns when the previous snapshot is complete and the arrays are copied; writing continues in
        the background. If memory is too short for a copy of the class rows, it returns when everything is written.

        Raises:
            UserError: a snapshot cannot be written, or its weights are not finite.
        """
        config, progress, step = self._config, self.progress, self._train_step
        if self._saved_step == progress.step:
            return
        self.finish()
        step.average_statistics()
        about, weights = self._describe(), step.backbone.named_arrays()
        average = {} if step.average is None else step.average.read_arrays()
        moments, data, shard, copy = {}, {}, None, True
        if not config["ckpt_embedding"]:
            data = progress.data
            wanted = step.head.row_bytes * (1 + len(MOMENTS[config["optimizer"]]))
            copy = config["fc7_storage"] == "memory" and has_room(wanted, self._world.local_size)
            read = step.optimizer.read_moments(copy)
            moments = {kind: {n: a for n, a in own.items() if not n.startswith("fc7_")} for kind, own in read.items()}
            shard, about["fc7"] = read_head(step.head, read, self._world.rank, copy)
        path = snapshot_path(self._root, progress.step)
        self._writer.start(path, Contents(about, weights, moments, data, average), shard, background=copy)
        self._saved_step = progress.step

    def save_best(self) -> None:
        """Save the network that is the best so far, where ``ckpt`` keeps better ones or the best. A collective call."""
        if self._config["ckpt"] in (NO_SNAPSHOTS, ALL_SNAPSHOTS):
            return
        before, self.best.step = self.best.step, self.progress.step
        self.save()
        if self._config["ckpt"] == BEST_SNAPSHOT and before is not None:
            self._obsolete = snapshot_path(self._root, before)

    def poll(self) -> None:
        """Log the snapshot that has become complete since the last call, if any."""
        self._take_written(self._writer.poll())

    def finish(self) -> None:
        """Wait until the snapshot that is being written is complete.

        Raises:
            UserError: it cannot be written, or its weights are not finite.
        """
        self._take_written(self._writer.finish(self._heartbeat))

    def _take_written(self, path: Path | None) -> None:
        if path is None:
            return
        self._log.say(f"snapshot: {path}")
        if self._obsolete is not None and self._world.rank == 0:
            remove_snapshot(self._obsolete)
        self._obsolete = None

    def _describe(self) -> dict[str, Any]:
        """Return the manifest without the class rows."""
        return {
            "step": self.progress.step,
            "position": self.progress.position,
            "epoch": self._plan.epoch_of(self.progress.step)[0],
            "epochs": self._plan.epochs_done(self.progress.step),
            "seed": self._config["seed"],
            "ranks": self._world.size,
            "highest_accuracy": self.best.accuracy,
            "highest_tied_sum": self.best.tied_sum,
            "best_step": self.best.step,
            "config": dict(sorted(self._config.items())),
            "optimizer": self._train_step.describe(),
            **self._describe_average(),
            **describe_network(self._train_step.backbone.network),
            "versions": {"python": platform.python_version(), "oneflow": flow.__version__, "numpy": np.__version__},
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def _describe_average(self) -> dict[str, Any]:
        average = self._train_step.average
        return {} if average is None else {"ema": {"decay": average.decay, "updates": average.updates}}

    # ---------------------------------------------------------------------------------------------- loading

    def load(self, snapshot: Snapshot, label_map: LabelMap | None = None) -> None:
        """Resume from a snapshot, and log what was taken over and which settings have changed.

        With a label map, class rows and their moments move to the classes that it names.

        Raises:
            UserError: network, class rows or optimiser do not fit.
        """
        about, step, progress = snapshot.about, self._train_step, self.progress
        progress.step, progress.position, progress.data = about["step"], about["position"], snapshot.data()
        self.best.accuracy = about["highest_accuracy"]
        self.best.tied_sum = about.get("highest_tied_sum", 0.0)
        self.best.step = about.get("best_step")
        load_backbone(step.backbone, snapshot)
        step.head.loss.load_state(about["fc7"].get("loss_state", {}))
        lines = self._load_average(snapshot)
        moments = snapshot.moments()
        step.load_state(snapshot.optimizer, moments)
        load_head(step.head, snapshot, label_map, list(moments), step.optimizer.load_rows)
        if label_map is None:
            self._saved_step = progress.step
        kinds = [f"{len(arrays)} of {kind}" for kind, arrays in moments.items()]
        arrays = ", ".join([f"{len(step.backbone.named_tensors())} arrays of the backbone", *kinds])
        rows = describe_rows(step.head, snapshot, label_map, " and ".join(moments))
        self._log.say(
            f"resumed from {snapshot.path} at step {progress.step}: {arrays}; {rows}",
            *lines,
            *(f"changed since the snapshot: {change}" for change in self._changes(snapshot)),
        )

    def _load_average(self, snapshot: Snapshot) -> list[str]:
        """Take over the average of the weights, and return lines about it."""
        average = self._train_step.average
        if average is None:
            return []
        found = snapshot.average()
        if found is None:
            average.restart()
            return [f"{snapshot.path} has no average of the weights: it begins with the present ones"]
        average.load(found.backbone(), snapshot.about["ema"]["updates"])
        return []

    def _changes(self, snapshot: Snapshot) -> list[str]:
        before = {**snapshot.about["config"], "ranks": snapshot.about.get("ranks")}
        now = {**json.loads(json.dumps(dict(self._config))), "ranks": self._world.size}
        keys = [key for key in sorted(now.keys() & before.keys()) if key not in _SAME_RUN]
        return [f"{key} {before[key]!r} -> {now[key]!r}" for key in keys if before[key] != now[key]]


def load_backbone(backbone: Backbone, snapshot: Snapshot) -> None:
    """Fill the backbone from the snapshot.

    Raises:
        UserError: the snapshot is of another network.
    """
    try:
        backbone.load_arrays(snapshot.backbone())
    except UserError as error:
        network = snapshot.about["config"]["network"]
        raise UserError(f"{snapshot.path} (network {network}) does not fit: {error}") from error
