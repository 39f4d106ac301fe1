"""The compiled graph of a training step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from backbones.execution.backbone import Backbone
from ops import flow
from ops.heads.base import Head
from ops.heads.distillation import teacher_distance
from ops.runtime.graph import Graph


class TrainGraph(Graph):
    """Images to loss and gradients; the update is the optimiser's, outside.

    Gradients leave the graph with the SBP of their parameters, so that schedules, momentum and (sampled) class rows
    are handled by plain code on each rank's own part.

    With ``in_place`` the network op finds the backbone's arrays in a table and leaves their gradients there, uncopied
    (``Backbone.allocate_memory``): OneFlow has no operation for each of them to compile. They are then gradients of
    this rank's images, for the caller to add up.

    With a frozen backbone the graph embeds as verification does, without dropout, and has gradients of the head alone.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        backbone_is_frozen: bool = False,
        in_place: bool = False,
        teacher_weight: float | None = None,
    ) -> None:
        """``backbone_is_frozen``: train the head alone. The mode of ``backbone`` must fit when the graph is called.

        ``teacher_weight`` is that of the distance to a teacher's embeddings in the loss; None: there is no teacher. A
        head that ``learns_classes`` gets the teacher's embeddings, too.
        """
        super().__init__()
        if in_place:
            object.__setattr__(self, "backbone", backbone)  # past OneFlow, which would make variables of its arrays
        else:
            self.backbone = backbone
        self.head = head
        self.backbone_is_frozen = backbone_is_frozen
        self.in_place = in_place
        self.teacher_weight = teacher_weight
        self.is_trained = [not backbone_is_frozen and n not in backbone.frozen for n, _ in backbone.named_parameters()]
        own = [p.sbp for p in self._select(backbone.parameters())]
        if in_place and own:
            own = [flow.sbp.split(0)]
        self.gradient_sbps = [*own, *head.gradient_sbps]
        self.new_statistics = backbone.new_statistics
        self.new_state = head.loss.new_state
        # Backward passes need a training job; without an optimiser in the graph nothing else declares one.
        self.config.proto.train_conf.SetInParent()

    def build(
        self, images: flow.Tensor, keep: flow.Tensor, signals: flow.Tensor, *head_inputs: flow.Tensor
    ) -> dict[str, Any]:
        """Return the results of one step by name.

        ``metrics``: float32 [4], broadcast: mean loss, correctly classified images, sum of the signals, logged loss.
        ``gradients``: of the backbone's parameters that are trained, in their order; with ``in_place`` one
            number, which exists once they are in the memory.
        ``head_gradients``: by the head's trained tensors, in the order of its parameters.
        ``statistics``: new moving statistics, in the order of ``Backbone.new_statistics``.
        ``loss_state``: new moving values of the loss, in the order of ``LossState.new_state``.

        Args:
            images: uint8 [B, S, S, 3], split(0).
            keep: uint8 [B, D], split(0): which inputs of the dropout layers stay (D may be 0).
            signals: float32 [ranks, 2], split(0): each rank's signal (``engine.news``); and the loss scale, the same on
                all ranks.
            head_inputs: what ``Head.prepare`` returned; before it, with a teacher, its embeddings, float32 [B, F],
                split(0); before these, with ``in_place``, the reference of the memory.
        """
        memory: list[flow.Tensor] = []
        if self.in_place:
            memory, head_inputs = [head_inputs[0]], head_inputs[1:]
        teacher: tuple[flow.Tensor, ...] = ()
        if self.teacher_weight is not None:
            teacher, head_inputs = head_inputs[:1], head_inputs[1:]
        if self.backbone_is_frozen:
            with flow.no_grad():
                embeddings = self.backbone.forward(images, None, *memory).detach()
            parameters = []
        else:
            parameters = [reference.requires_grad_() for reference in memory]
            embeddings = self.backbone.forward(images, keep, *parameters)
        taught = {"taught": teacher[0]} if teacher and self.head.learns_classes else {}
        loss, correct, logged_loss, trained = self.head(embeddings, *head_inputs, **taught)
        for targets in teacher if self.teacher_weight else ():
            loss = loss.to_global(sbp=flow.sbp.broadcast) + teacher_distance(embeddings, targets) * self.teacher_weight
        signals = signals.to_global(sbp=flow.sbp.broadcast)
        scaled = loss * signals[0, 1]
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(scaled)
        if not self.in_place:  # OneFlow knows them in the graph only once the forward pass has read them
            parameters = [p.lazy_origin for p in self._select(self.backbone.parameters())]
        gradients = flow.autograd.grad([scaled], [*parameters, *trained])
        gradients = [g.to_global(sbp=sbp) for g, sbp in zip(gradients, self.gradient_sbps, strict=True)]
        parts = (loss, correct, signals[:, 0].sum(), logged_loss)
        return {
            "metrics": flow.stack([value.detach().to_global(sbp=flow.sbp.broadcast) for value in parts]),
            "gradients": gradients[: len(parameters)],
            "head_gradients": gradients[len(parameters) :],
            "statistics": [] if self.backbone_is_frozen else list(self.new_statistics.values()),
            "loss_state": list(self.new_state.values()),
        }

    def _select(self, parameters: Iterable[flow.Tensor]) -> list[flow.Tensor]:
        """Return those of the backbone's parameters that are trained."""
        return [p for p, is_trained in zip(parameters, self.is_trained, strict=True) if is_trained]
