"""The training graphs of a backbone without a head, and of a head without a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from backbones.execution.backbone import Backbone
from ops import flow
from ops.heads.base import Head
from ops.runtime.graph import Graph


class BackboneTrainGraph(Graph):
    """Images to the squared distance from fixed targets and the gradients, as in ``engine.train_graph.TrainGraph``."""

    def __init__(self, backbone: Backbone, in_place: bool = False) -> None:
        """With ``in_place`` arrays and gradients are in a memory (``Backbone.allocate_memory``), uncopied."""
        super().__init__()
        if in_place:
            object.__setattr__(self, "backbone", backbone)  # past OneFlow, which would make variables of its arrays
        else:
            self.backbone = backbone
        self.in_place = in_place
        self.sbps = [parameter.sbp for parameter in backbone.parameters()]
        self.config.proto.train_conf.SetInParent()

    def build(
        self, images: flow.Tensor, targets: flow.Tensor, keep: flow.Tensor, *memory: flow.Tensor
    ) -> tuple[flow.Tensor, ...]:
        """Return (loss, *gradients); with a memory (loss, a number that exists once the gradients are there).

        Args:
            images: uint8 or float32 [B, 3, S, S], split(0).
            targets: float32 [B, E], split(0).
            keep: uint8 [B, D], split(0), the keep mask of the dropout layer (unused without one).
            memory: with ``in_place`` the reference of the memory.
        """
        references = [reference.requires_grad_() for reference in memory]
        loss = (self.backbone.forward(images, keep, *references) - targets).square().sum() / images.shape[0]
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(loss)
        if self.in_place:
            (done,) = flow.autograd.grad([loss], references)
            return (loss.detach().to_global(sbp=flow.sbp.broadcast), done)
        gradients = flow.autograd.grad([loss], [p.lazy_origin for p in self.backbone.parameters()])
        parts = (gradient.to_global(sbp=sbp) for gradient, sbp in zip(gradients, self.sbps, strict=True))
        return (loss.detach().to_global(sbp=flow.sbp.broadcast), *parts)


class EmbeddingTable(flow.nn.Module):
    """A replacement for a backbone: the embeddings of the batch are its parameters."""

    def __init__(self, embeddings: flow.Tensor) -> None:
        """Take float32 [B, E], global, split(0)."""
        super().__init__()
        self.embeddings = flow.nn.Parameter(embeddings)

    def forward(self) -> flow.Tensor:
        """Return the embeddings."""
        return self.embeddings


class HeadTrainGraph(Graph):
    """The inputs of a head to the loss and all gradients, as in ``engine.train_graph.TrainGraph``."""

    def __init__(self, table: EmbeddingTable, head: Head) -> None:
        super().__init__()
        self.table = table
        self.head = head
        self.sbps = [*(parameter.sbp for parameter in table.parameters()), *head.gradient_sbps]
        self.config.proto.train_conf.SetInParent()

    def build(self, *head_inputs: flow.Tensor) -> tuple[flow.Tensor, ...]:
        """Return (loss, *gradients)."""
        loss, _, _, trained = self.head(self.table(), *head_inputs)
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(loss)
        gradients = flow.autograd.grad([loss], [*(p.lazy_origin for p in self.table.parameters()), *trained])
        parts = (gradient.to_global(sbp=sbp) for gradient, sbp in zip(gradients, self.sbps, strict=True))
        return (loss.detach().to_global(sbp=flow.sbp.broadcast), *parts)

    def row_gradients(self, results: Sequence[flow.Tensor]) -> list[flow.Tensor]:
        """Return the gradients among a call's ``results`` (without the loss)."""
        count = len(list(self.table.parameters()))
        return [*results[:count], *self.head.row_gradients(results[count:])]
