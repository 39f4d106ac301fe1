"""One training step: forward and backward for each piece of the batch, then the update."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from backbones.execution.backbone import Backbone
from backbones.graph.masks import draw_keep_masks
from common.errors import UserError
from data.loading.batches import Batch
from engine.gradients import LossScale, add_gradients, gradient_norm, multiply_gradients
from engine.news import FAILED, QUIET
from engine.optimizer import Moments, Optimizer
from engine.options import StepOptions
from engine.train_graph import TrainGraph
from engine.weight_average import WeightAverage
from launch.world import World
from ops import flow
from ops.heads.base import Head
from ops.native.network import ArrayTable, TrainingMemory
from ops.runtime.tensors import local_view

if TYPE_CHECKING:
    from engine.teacher import Teacher


@dataclass(frozen=True)
class StepResult:
    """The results of a training step, the same on every rank except for the shards of ``gradients``.

    Attributes:
        loss: mean over the batch.
        logged_loss: what the log calls lossvalue: for margin losses the cross entropy without extra loss terms.
        correct: number of correctly classified images.
        has_news: whether a rank has news for the others.
        failed: whether a rank failed and the step must be discarded: ``gradients`` is empty and nothing has changed but
            the moving statistics of BatchNorm.
        gradients: times the loss scale, summed over the pieces; of the backbone local tensors, the same on every rank,
            or global ones. ``update`` uses them up, and the next ``compute`` may overwrite them.
        backbone_is_frozen: whether ``gradients`` are those of the head alone.
        updated: parameters that ``compute`` has updated, which have no gradients.
        squares: sum of the squares of their gradients, if the norm was wanted.
        norm: L2 norm of the gradient before clipping; None unless ``update`` computed it.
        skipped: whether the gradients overflowed, so that the loss scale was halved and nothing updated.
        diverged: whether loss or gradients are not finite; ``update`` did nothing.
    """

    loss: float
    logged_loss: float
    correct: float
    has_news: bool
    gradients: list[flow.Tensor]
    backbone_is_frozen: bool = False
    updated: Collection[str] = ()
    squares: float = 0.0
    failed: bool = False
    norm: float | None = None
    skipped: bool = False
    diverged: bool = False


@dataclass(frozen=True)
class ComingUpdate:
    """What ``compute`` must know of the update that follows, to do a part of it.

    Attributes:
        lr_scale: factor of the learning rate.
        measure_norm: whether the norm of the gradients is wanted.
    """

    lr_scale: float
    measure_norm: bool = False


class TrainStep:
    """Forward, backward and update of backbone and head: ``compute``, then ``update``.

    Where nothing needs all gradients at once - one rank on a CPU with the kernels, SGD, one piece, neither clipping nor
    a loss scale - the backward pass updates each parameter of the backbone as soon as its gradient is complete, so that
    the gradients take hardly any memory. The results are the same.

    With ``gradient_accumulation`` N each rank computes its part of the batch in N equal pieces, one after the other,
    and sums their gradients. The head samples once for the whole batch and updates its state once; BatchNorm sees the
    pieces.

    The first ``freeze_backbone_steps`` steps of the run train the head alone, and a teacher has no part in them.

    Attributes:
        world: this rank's view of all ranks.
        backbone: global tensors.
        head: global tensors.
        optimizer: keeps the moments.
        loss_scale: the factor of the loss in the next step.
        average: the moving average of the backbone's weights; None without ``ema_decay``.
    """

    def __init__(
        self, options: StepOptions, world: World, backbone: Backbone, head: Head, teacher: Teacher | None = None
    ) -> None:
        """Train ``backbone`` and ``head``, whose tensors must be global; from ``teacher`` too, if there is one."""
        self.optimizer = Optimizer(backbone, head, options.optimizer, backbone.frozen)
        self.loss_scale = LossScale(options.fp16_scale, options.fp16_scale_window)
        self.world = world
        self.backbone = backbone
        self.head = head
        self.average = WeightAverage(backbone, options.ema_decay) if options.ema_decay else None
        self._graphs: dict[bool, tuple[TrainGraph, ArrayTable | None]] = {}
        self._teacher, self._teacher_weight = teacher, options.teacher_weight
        self._early: list[str] = []  # parameters that the backward pass updates
        needs_all = self.loss_scale.value != 1 or options.fp16_scale_window or options.clip_gradient
        self._may_update_early = (
            world.size == 1
            and options.optimizer.optimizer == "sgd"
            and options.gradient_accumulation == 1
            and not needs_all
        )
        self._uses_amp = options.use_fp16 and world.device == "cuda"
        self._frozen_steps = options.freeze_backbone_steps
        self._statistics_moved = False
        self._optimizer_name = options.optimizer.optimizer
        self._seed = options.seed
        self._pieces = options.gradient_accumulation
        self._clip = options.clip_gradient
        self._masks = list(backbone.masks.values())

    def _graph(self, is_frozen: bool, batch: int, updates_early: bool) -> tuple[TrainGraph, ArrayTable | None]:
        """Return the graph for pieces of ``batch`` images, which all steps of a run have; made at its first use.

        With it goes the table of the backbone's arrays, if the graph finds them there.
        """
        if is_frozen not in self._graphs:
            if is_frozen:
                table = self.backbone.refer()
            else:
                if updates_early:
                    self._early = self.backbone.updatable(self.optimizer.backbone_names)
                table = self.backbone.allocate_memory(batch, self._early)
            weight = None if self._teacher is None or is_frozen else self._teacher_weight
            graph = TrainGraph(self.backbone, self.head, is_frozen, table is not None, weight)
            if self._uses_amp:
                graph.config.enable_amp(True)
            self._graphs[is_frozen] = graph, table
        return self._graphs[is_frozen]

    def _read_gradients(
        self, graph: TrainGraph, memory: TrainingMemory | None, returned: list[flow.Tensor]
    ) -> list[flow.Tensor]:
        """Return the gradients of the backbone's parameters that are trained, given those that the graph returned.

        Those in the memory are of this rank's images, and summed over the ranks where they are.
        """
        if not (graph.in_place and returned):
            return returned
        returned[0].to_local().numpy()  # waits for the graph
        found = self.backbone.read_gradients(memory)
        trained = [gradient for name, gradient in found.items() if name not in self.backbone.frozen]
        self.world.add_up(trained)
        return [flow.from_numpy(gradient) for gradient in trained]

    def compute(self, batch: Batch, step: int, signal: float = QUIET, coming: ComingUpdate | None = None) -> StepResult:
        """Run forward and backward of ``step``, from 0, on this rank's part of the batch. A collective call.

        Args:
            batch: this rank's part.
            step: number of the step.
            signal: this rank's, of ``engine.news``.
            coming: the update that follows, of which this call may do a part; None leaves all of it to ``update``.
                All steps have one, or none has.
        """
        count, world = len(batch.labels), self.world
        is_frozen = step < self._frozen_steps
        self.backbone.train(not is_frozen)
        self._statistics_moved |= not is_frozen
        keep = draw_keep_masks(self._seed, batch.position, count, [] if is_frozen else self._masks)
        shared = world.split(np.array([[signal, self.loss_scale.value]], np.float32))
        prepared = self.head.prepare(batch.labels, step, world)
        of_images, others = prepared[: self.head.image_inputs], prepared[self.head.image_inputs :]
        if self._teacher is not None and not is_frozen:
            of_images = [world.split(self._teacher.embed(batch)), *of_images]
        size = count // self._pieces
        graph, memory = self._graph(is_frozen, size, coming is not None and self._may_update_early)
        updated: list[str] = [] if is_frozen else self._early
        if updated:
            if coming is None:
                raise ValueError("the backward pass updates, so it needs the coming update in every step")
            updates = self.optimizer.early_updates(updated, coming.lr_scale)
            self.backbone.set_updates(memory, updates, coming.measure_norm)
        references = [world.split(memory.reference)] if graph.in_place else []
        gradients, metrics, states = None, [], []
        keeps = world.size > 1 and not is_frozen  # another rank may have no batch, which is known only afterwards
        if keeps:
            self.backbone.keep_statistics()
        for first in range(0, count, size):
            piece = slice(first, first + size)
            own = of_images if size == count else [world.split(local_view(values)[piece]) for values in of_images]
            inputs = [world.split(batch.images[piece]), world.split(keep[piece]), shared, *references, *own, *others]
            results = self.backbone.run_graph(graph, *inputs)
            metrics.append(results["metrics"].to_local())
            if first == 0 and metrics[0].numpy()[2] >= FAILED:
                if keeps:
                    self.backbone.restore_statistics()
                return StepResult(0.0, 0.0, 0.0, has_news=True, gradients=[], failed=True)
            if not is_frozen:
                self.backbone.set_statistics(results["statistics"])
            more = [
                *self._read_gradients(graph, memory, results["gradients"]),
                *self.head.row_gradients(results["head_gradients"]),
            ]
            gradients = more if self._pieces == 1 else add_gradients(gradients, more)
            states.append(results["loss_state"])
        self.head.loss.set_state([_average(values) for values in zip(*states, strict=True)])
        losses, counts, signals, logged = np.array([values.numpy() for values in metrics], np.float64).T
        means, correct = (float(losses.mean()), float(logged.mean())), float(counts.sum())
        squares = memory.squares if updated else 0.0
        return StepResult(*means, correct, bool(signals[0]), gradients, is_frozen, updated, squares)

    def average_statistics(self) -> None:
        """Make the moving statistics of BatchNorm their means over the ranks. A collective call.

        Before the first step that trains the backbone they stay untouched, bit for bit.
        """
        if self._statistics_moved:
            self.backbone.average_statistics(self.world.average)
            if self.average is not None:
                self.average.average_statistics(self.world.average)

    def update(self, result: StepResult, lr_scale: float, measure_norm: bool = False) -> StepResult:
        """Update the parameters at ``lr_scale`` times the learning rate; return ``result`` completed. Collective.

        Overwrites the gradients. The returned result is without them, so that they are released here: a loop that
        released those of the step before between a graph's run and its update took half as long again. The norm is
        computed where clipping or the loss scale needs it, or ``measure_norm`` asks for it.
        """
        factor = 1 / (self.loss_scale.value * self._pieces)
        norm = None
        needs_norm = self._clip or self.loss_scale.window
        if needs_norm or measure_norm:
            norm = gradient_norm(result.gradients, self.world, result.squares) * factor
        if not math.isfinite(result.loss):
            return replace(result, gradients=[], norm=norm, diverged=True)
        if needs_norm and not math.isfinite(norm):
            skipped = self.loss_scale.advance(overflow=True)
            return replace(result, gradients=[], norm=norm, skipped=skipped, diverged=not skipped)
        if self._clip and norm > self._clip:
            factor *= self._clip / norm
        multiply_gradients(result.gradients, factor)
        self.optimizer.step(result.gradients, lr_scale, result.backbone_is_frozen, result.updated)
        if self.average is not None and not result.backbone_is_frozen:
            self.average.update()
        self.loss_scale.advance(overflow=False)
        return replace(result, gradients=[], norm=norm)

    def describe(self) -> dict[str, Any]:
        """Return what a snapshot records about the optimiser besides its moments."""
        return {
            "name": self._optimizer_name,
            "updates": self.optimizer.updates,
            "frozen_updates": self.optimizer.frozen_updates,
            "loss_scale": self.loss_scale.read_state(),
        }

    def load_state(self, about: Mapping[str, Any], moments: Moments) -> None:
        """Resume from what ``describe`` and the optimiser's ``read_moments`` returned.

        Raises:
            UserError: the snapshot was written by another optimiser.
        """
        if about["name"] != self._optimizer_name:
            raise UserError(
                f"the snapshot is of --optimizer {about['name']}, which cannot resume as {self._optimizer_name}; "
                "use --pretrained to start from its backbone, with --label_map also from its class rows"
            )
        self.optimizer.updates = about["updates"]
        self.optimizer.frozen_updates = about["frozen_updates"]
        self.optimizer.load_moments(moments)
        self.loss_scale.load_state(about["loss_scale"])


def _average(values: tuple[flow.Tensor, ...]) -> flow.Tensor:
    if len(values) == 1:
        return values[0]
    return sum(local_view(value) for value in values) / len(values)
