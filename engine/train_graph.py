"""The two compiled graphs of a run: one training step, and embedding for verification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backbones.execution.backbone import Backbone
from launch.world import World
from ops import flow
from ops.heads.base import Head
from ops.runtime.graph import Graph


class TrainGraph(Graph):
    """Images to loss and gradients; the update is the optimiser's, outside.

    Gradients leave the graph with the SBP of their parameters, so that schedules, momentum and (sampled) class rows
    are handled by plain code on each rank's own part.
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.parameter_sbps = [p.sbp for module in (backbone, head) for p in module.parameters()]
        self.new_statistics = backbone.new_statistics
        self.new_state = head.loss.new_state
        # Backward passes need a training job; without an optimiser in the graph nothing else declares one.
        self.config.proto.train_conf.SetInParent()

    def build(self, images: flow.Tensor, keep: flow.Tensor, signals: flow.Tensor, *head_inputs: flow.Tensor) -> tuple:
        """Return (metrics, *gradients, *moving statistics, *state of the loss); ``sort_results`` takes the last three.

        Gradients come in the order of the parameters of backbone and head, statistics as in ``new_statistics``, state
        as in ``new_state``.

        Args:
            images: uint8 [B, S, S, 3], split(0).
            keep: uint8 [B, D], split(0): which inputs of the dropout layer stay (D may be 0).
            signals: float32 [ranks, 2], split(0): 1 where a rank was asked to stop, and by what the loss is multiplied
                before it is differentiated, of all ranks the same.
            head_inputs: what the head's ``inputs`` returned.

        metrics is float32 [4], broadcast: mean loss, correctly classified images, ranks asked to stop, lossvalue.
        """
        embeddings = self.backbone(images, keep)
        loss, correct, shown = self.head(embeddings, *head_inputs)
        signals = signals.to_global(sbp=flow.sbp.broadcast)
        scaled = loss * signals[0, 1]
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(scaled)
        trained = [p.lazy_origin for p in self.backbone.parameters()] + self.head.find_trained(*head_inputs)
        gradients = flow.autograd.grad([scaled], trained)
        parts = (loss, correct, signals[:, 0].sum(), shown)
        metrics = flow.stack([value.detach().to_global(sbp=flow.sbp.broadcast) for value in parts])
        gradients = [g.to_global(sbp=sbp) for g, sbp in zip(gradients, self.parameter_sbps, strict=True)]
        return (metrics, *gradients, *self.new_statistics.values(), *self.new_state.values())

    def sort_results(self, results: Sequence[flow.Tensor], head: Head) -> tuple[Sequence[flow.Tensor], ...]:
        """Return gradients, moving statistics and state among a step's ``results`` (without metrics).

        The gradients are those of all parameters, the head's through its ``find_gradients``: valid until the next call.
        """
        first = len(self.parameter_sbps)
        second = first + len(self.new_statistics)
        backbones = first - len(list(head.parameters()))
        gradients = [*results[:backbones], *head.find_gradients(results[backbones:first])]
        return gradients, results[first:second], results[second:]


class EmbedGraph(flow.nn.Graph):
    """Images uint8 split(0), as the backbone takes them, to embeddings [B, E] float32 broadcast, in inference mode."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def build(self, images: flow.Tensor) -> flow.Tensor:
        """Return the embeddings on every rank."""
        return self.backbone(images).to_global(sbp=flow.sbp.broadcast)


class Embedder:
    """A function uint8 [N, 3, S, S] -> float32 [N, E] over all ranks; every rank calls it with the same images.

    Batches are padded to a multiple of the number of ranks and to one static shape.
    """

    def __init__(self, backbone: Backbone, world: World, batch_size: int) -> None:
        """``batch_size`` is that of all ranks together; it is rounded up to a multiple of their number."""
        self._backbone = backbone
        self._world = world
        self._per_rank = -(-batch_size // world.size)
        self.batch_size = self._per_rank * world.size
        self._graph: EmbedGraph | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embed up to ``batch_size`` images. A collective call."""
        count = len(images)
        if count < self.batch_size:
            images = np.concatenate([images, np.zeros((self.batch_size - count, *images.shape[1:]), images.dtype)])
        mine = images[self._world.rank * self._per_rank : (self._world.rank + 1) * self._per_rank]
        return self.embed_parts(np.ascontiguousarray(mine))[:count].copy()

    def embed_parts(self, mine: np.ndarray) -> np.ndarray:
        """Return the embeddings of all ranks' images, ``mine`` being this rank's equal part. A collective call."""
        training = self._backbone.training
        self._backbone.eval()
        if self._graph is None:
            self._graph = EmbedGraph(self._backbone)
        with flow.no_grad():
            result = self._backbone.run_graph(self._graph, self._world.split(mine)).to_local().numpy()
        self._backbone.train(training)
        return result
