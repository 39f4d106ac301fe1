"""One training step: forward and backward for each piece of the batch, then the update."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from backbones.graph.masks import draw_keep_masks
from common.errors import UserError
from data.batches import Batch
from engine.gradients import LossScale, add_gradients, find_norm, multiply_gradients
from engine.optimizer import Moments, Optimizer
from engine.train_graph import TrainGraph
from launch.world import World, local_view
from ops import flow
from ops.heads.base import Head


@dataclass(frozen=True)
class Computed:
    """What forward and backward passes bring, the same on every rank but for the gradients' shards.

    Attributes:
        loss: mean of the batch.
        shown: the lossvalue of the log; for margin losses the cross entropy, to which ``loss`` may add something.
        correct: its correctly classified images.
        stop: whether a rank was asked to stop.
        gradients: global tensors, times the loss scale, added up over the pieces.
    """

    loss: float
    shown: float
    correct: float
    stop: bool
    gradients: list[flow.Tensor]


@dataclass(frozen=True)
class Update:
    """What became of the gradients.

    Attributes:
        norm: of the gradient, before clipping; None unless clipping or loss scaling needs it, or it was asked for.
        skipped: they overflowed, and the loss scale was halved in place of an update.
        diverged: loss or gradients are no numbers, and there was no update.
    """

    norm: float | None
    skipped: bool
    diverged: bool


class TrainStep:
    """Forward, backward and update of backbone and head: ``compute``, then ``update``.

    With ``gradient_accumulation`` N each rank computes its part of the batch in N equal pieces, one after the other,
    and adds their gradients up. What a head draws, it draws for the whole batch, and its moving values move once.
    BatchNorm sees the pieces.

    Attributes:
        world: this rank's view of all ranks.
        backbone: global tensors.
        head: global tensors.
        optimizer: it keeps the moments.
        loss_scale: of the next step.
    """

    def __init__(self, config: Mapping[str, Any], world: World, backbone: Backbone, head: Head) -> None:
        """Take the modules, global tensors already."""
        self.optimizer = Optimizer(backbone, head, config)
        self.loss_scale = LossScale(config)
        self.world = world
        self.backbone = backbone
        self.head = head
        self._graph = TrainGraph(backbone, head)
        if config["use_fp16"] and world.device == "cuda":
            self._graph.config.enable_amp(True)
        self._optimizer_name = config["optimizer"]
        self._seed = config["seed"]
        self._pieces = config["gradient_accumulation"]
        self._clip = config["clip_gradient"]
        self._masks = list(backbone.masks.values())

    def compute(self, batch: Batch, step: int, stop_requested: bool = False) -> Computed:
        """Do the passes of step number ``step``, from 0, for this rank's part of the batch. A collective call."""
        count, world = len(batch.labels), self.world
        self.backbone.train()
        keep = draw_keep_masks(self._seed, batch.position, count, self._masks)
        signals = world.split(np.array([[stop_requested, self.loss_scale.value]], np.float32))
        labels, *others = self.head.inputs(batch.labels, step, world)
        size = count // self._pieces
        gradients, metrics, states = None, [], []
        for first in range(0, count, size):
            piece = slice(first, first + size)
            own = labels if size == count else world.split(local_view(labels)[piece])
            inputs = [world.split(batch.images[piece]), world.split(keep[piece]), signals, own, *others]
            values, *results = self.backbone.run_graph(self._graph, *inputs)
            more, statistics, state = self._graph.sort_results(results, self.head)
            self.backbone.set_statistics(statistics)
            gradients = more if self._pieces == 1 else add_gradients(gradients, more)
            metrics.append(values)
            states.append(state)
        self.head.loss.set_state([_average(values) for values in zip(*states, strict=True)])
        losses, counts, stops, shown = np.array([values.to_local().numpy() for values in metrics], np.float64).T
        return Computed(float(losses.mean()), float(shown.mean()), float(counts.sum()), bool(stops[0]), gradients)

    def update(self, computed: Computed, lr_scale: float, measure_norm: bool = False) -> Update:
        """Change the parameters at ``lr_scale`` times the learning rate; uses the gradients up. Collective.

        The norm of the gradient is computed where clipping or the loss scale needs it, and with ``measure_norm``.
        """
        factor = 1 / (self.loss_scale.value * self._pieces)
        norm = None
        needs_norm = self._clip or self.loss_scale.window
        if needs_norm or measure_norm:
            norm = find_norm(computed.gradients, self.world) * factor
        if not math.isfinite(computed.loss):
            return Update(norm, skipped=False, diverged=True)
        if needs_norm and not math.isfinite(norm):
            skipped = self.loss_scale.move(overflow=True)
            return Update(norm, skipped, diverged=not skipped)
        if self._clip and norm > self._clip:
            factor *= self._clip / norm
        multiply_gradients(computed.gradients, factor)
        self.optimizer.step(computed.gradients, lr_scale)
        self.loss_scale.move(overflow=False)
        return Update(norm, skipped=False, diverged=False)

    def describe(self) -> dict[str, Any]:
        """Return what a snapshot says of the optimiser, besides its moments."""
        return {
            "name": self._optimizer_name,
            "updates": self.optimizer.updates,
            "loss_scale": self.loss_scale.read_state(),
        }

    def load_state(self, about: Mapping[str, Any], moments: Moments) -> None:
        """Go on from what ``describe`` and the optimiser's ``read_moments`` returned.

        Raises:
            UserError: they are of another optimiser.
        """
        if about["name"] != self._optimizer_name:
            raise UserError(
                f"the snapshot is of --optimizer {about['name']}, which cannot go on as {self._optimizer_name}; "
                "--pretrained starts anew from its backbone, with --label_map also from its class rows"
            )
        self.optimizer.updates = about["updates"]
        self.optimizer.load_moments(moments)
        self.loss_scale.load_state(about["loss_scale"])


def _average(values: tuple[flow.Tensor, ...]) -> flow.Tensor:
    if len(values) == 1:
        return values[0]
    return sum(local_view(value) for value in values) / len(values)
