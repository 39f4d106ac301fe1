"""Writes the snapshots of a run while it trains, and loads the one it resumes from."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
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
from launch.world import World
from ops import flow
from ops.heads.base import ClassHead, Head
from ops.moments import MOMENTS
from ops.rows.selection import RowSelection, set_rows
from ops.runtime.tensors import local_view
from settings.choices import ALL_SNAPSHOTS, BEST_SNAPSHOT, NO_SNAPSHOTS
from settings.places import run_directory
from snapshots.label_map import LabelMap
from snapshots.layout import HeadShard, describe_network, snapshot_path
from snapshots.reader import Snapshot
from snapshots.writer import Contents, SnapshotWriter, remove_snapshot

# Arguments: kind of moment, parameter, which rows, new values.
SetRows = Callable[[str, str, RowSelection, np.ndarray], None]

DIVERGED = (
    "the snapshots so far are untouched: resume from the last one with a smaller --lr "
    "(or smaller --loss_s, or start from a softmax snapshot)"
)
_SAME_RUN = ("resume", "model_load_dir", "node_rank")  # settings that say nothing of what is trained


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

        The call returns when the previous snapshot is complete and the arrays are copied; writing goes on in the
        background. If memory is too short for a copy of the class rows, it returns when everything is written.

        Raises:
            UserError: a snapshot cannot be written, or its weights are not finite.
        """
        config, progress, step = self._config, self.progress, self._train_step
        if self._saved_step == progress.step:
            return
        self.finish()
        step.backbone.average_statistics(self._world.average)
        about, weights = self._describe(), step.backbone.named_arrays()
        moments, data, shard, copy = {}, {}, None, True
        if not config["ckpt_embedding"]:
            data = progress.data
            rows = sum(local_view(p).nelement() * 4 for p in step.head.parameters())
            wanted = rows * (1 + len(MOMENTS[config["optimizer"]]))
            copy = config["fc7_storage"] == "memory" and has_room(wanted, self._world.local_size)
            read = step.optimizer.read_moments(copy)
            moments = {kind: {n: a for n, a in own.items() if not n.startswith("fc7_")} for kind, own in read.items()}
            shard, about["fc7"] = read_head(step.head, read, self._world, copy)
        path = snapshot_path(self._root, progress.step)
        self._writer.start(path, Contents(about, weights, moments, data), shard, background=copy)
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
        """Return what the manifest says besides the class rows."""
        return {
            "step": self.progress.step,
            "position": self.progress.position,
            "epoch": self.progress.step // self._plan.steps_per_epoch,
            "seed": self._config["seed"],
            "ranks": self._world.size,
            "highest_accuracy": self.best.accuracy,
            "highest_tied_sum": self.best.tied_sum,
            "best_step": self.best.step,
            "config": dict(sorted(self._config.items())),
            "optimizer": self._train_step.describe(),
            **describe_network(self._train_step.backbone.network),
            "versions": {"python": platform.python_version(), "oneflow": flow.__version__, "numpy": np.__version__},
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

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
            *(f"changed since the snapshot: {change}" for change in self._changes(snapshot)),
        )

    def _changes(self, snapshot: Snapshot) -> list[str]:
        before = {**snapshot.about["config"], "ranks": snapshot.about.get("ranks")}
        now = {**json.loads(json.dumps(dict(self._config))), "ranks": self._world.size}
        keys = [key for key in sorted(now.keys() & before.keys()) if key not in _SAME_RUN]
        return [f"{key} {before[key]!r} -> {now[key]!r}" for key in keys if before[key] != now[key]]


def describe_rows(head: Head, snapshot: Snapshot, label_map: LabelMap | None, moments: str = "") -> str:
    """Return a few words on the class rows that ``load_head`` takes from a snapshot."""
    if not isinstance(head, ClassHead):
        return "there are no class rows"
    classes = head.shards.num_classes
    known = snapshot.about["fc7"]["num_classes"] if label_map is None else len(label_map.new)
    text = f"rows of {known} classes" + (f" with {moments}" if moments else "")
    text += f" by {label_map.path}" if label_map is not None else ""
    return (
        text if known == classes else f"{text}; {classes - known} classes are new: they start from their initial rows"
    )


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


def read_head(
    head: Head, moments: Mapping[str, Mapping[str, np.ndarray]], world: World, copy: bool = True
) -> tuple[HeadShard | None, dict[str, Any]]:
    """Return this rank's shard of class rows with their moments, and what the manifest says of all shards.

    A replicated head is one shard, written by the first rank; the others return None for theirs. Without ``copy`` the
    rows are the live ones. A head without classes has no shards.
    """
    if not isinstance(head, ClassHead):
        return None, {"num_classes": 0, "shards": [], "loss_state": head.loss.read_state()}
    layout = head.shards
    shards = [HeadShard(i, layout.shards, *layout.real_rows(i), {}) for i in range(layout.shards)]
    listed = [{"file": s.file, "rows": [s.start, s.stop]} for s in shards]
    about = {"num_classes": layout.num_classes, "emb_size": int(head.weight.shape[1]), "shards": listed}
    about |= {"num_subcenters": head.centres, "loss_state": head.loss.read_state()}
    if head.shard != world.rank:
        return None, about
    arrays = {}
    for name, parameter in head.named_parameters():
        weight = local_view(parameter).numpy()
        arrays[f"fc7_{name}"] = weight.copy() if copy else weight
        arrays |= {f"fc7_{name}_{kind}": own[f"fc7_{name}"] for kind, own in moments.items()}
    start, stop = layout.real_rows(head.shard)
    rows = {name: _by_class(array, head)[: stop - start] for name, array in arrays.items()}
    return HeadShard(head.shard, layout.shards, start, stop, rows), about


def load_head(
    head: Head,
    snapshot: Snapshot,
    label_map: LabelMap | None = None,
    kinds: Sequence[str] = (),
    load_moments: SetRows | None = None,
) -> None:
    """Fill this rank's class rows from the snapshot, whatever number of shards it has, a part of them at a time.

    The moments of ``kinds`` go to ``load_moments``. Classes that the snapshot does not have keep their initial rows,
    without moments: those above its number of classes, or with a label map those that it does not name.

    Raises:
        UserError: the snapshot is of more classes, another number of sub-centers, embedding length or loss family, or
            the map does not fit.
    """
    if not snapshot.is_full:
        raise UserError(f"{snapshot.path} holds no class rows: it is a backbone-only snapshot")
    if snapshot.has_classes != isinstance(head, ClassHead):
        others, own = ("class rows", "none") if snapshot.has_classes else ("no class rows", "some")
        raise UserError(f"{snapshot.path} has {others}, this run's loss needs {own}; try --pretrained")
    if not isinstance(head, ClassHead):
        return
    about = {"num_subcenters": 1, **snapshot.about["fc7"]}  # snapshots that do not say have one
    for key, value in {"emb_size": int(head.weight.shape[1]), "num_subcenters": head.centres}.items():
        if about[key] != value:
            raise UserError(f"{snapshot.path} has {key}={about[key]}, this run {value}; try --pretrained")
    found = snapshot.head_rows(0, 0)
    parameters = {f"fc7_{name}": local_view(parameter) for name, parameter in head.named_parameters()}
    for name in parameters:
        if name not in found:
            raise UserError(f"{snapshot.path} has no {name}: it was trained with another loss; try --pretrained")
    own, sources = _source_classes(head, snapshot, label_map)
    for places, rows in snapshot.head_pieces(sources):
        targets = (own[places][:, None] * head.centres + np.arange(head.centres)).reshape(-1)
        first, count = int(targets[0]), len(targets)
        # A slice is much faster.
        where = slice(first, first + count) if np.array_equal(targets, np.arange(first, first + count)) else targets
        for name, local in parameters.items():
            shape = (-1, *local.shape[1:])
            set_rows(local, where, rows[name].reshape(shape))
            for kind in kinds:
                load_moments(kind, name, where, rows[f"{name}_{kind}"].reshape(shape))


def _source_classes(head: ClassHead, snapshot: Snapshot, label_map: LabelMap | None) -> tuple[np.ndarray, np.ndarray]:
    """Return this rank's classes that are in the snapshot, counted from its first, and their classes there: int64."""
    old, new = snapshot.about["fc7"]["num_classes"], head.shards.num_classes
    start, stop = head.shards.real_rows(head.shard)
    if label_map is None:
        if old > new:
            raise UserError(
                f"{snapshot.path} has num_classes={old}, this run {new}: classes can be added, not taken away; use "
                "--label_map or --pretrained"
            )
        sources = np.arange(min(start, old), min(stop, old))
        return sources - start, sources
    label_map.check_sizes(old, new)
    sources = label_map.source_classes(start, stop)
    own = np.flatnonzero(sources >= 0)
    return own, sources[own]


def _by_class(array: np.ndarray, head: ClassHead) -> np.ndarray:
    """Return the rows of ``head`` with classes along the first axis: [N, E], with sub-centers [N, K, E]."""
    return array if head.centres == 1 else array.reshape(-1, head.centres, *array.shape[1:])
