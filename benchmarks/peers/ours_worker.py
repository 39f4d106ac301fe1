"""This project: the backbone in a compiled graph, updated by the optimiser of the training."""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones import build_backbone
from benchmarks.network import SEED
from benchmarks.peers.protocol import Contestant, serve
from benchmarks.train_graphs import BackboneTrainGraph
from engine.embedder import Embedder
from engine.optimizer import Optimizer
from engine.options import OptimizerOptions
from launch.world import join_world
from ops import flow


class OurContestant(Contestant):
    """The backbone and one batch as global tensors."""

    def __init__(self, job: dict[str, Any]) -> None:
        modes = {
            "native_ops": job["kernels"] != "stock",
            "use_bf16": job["precision"] == "bfloat16",
            "recompute": job["kernels"] == "native, recomputing",
        }
        self.world = world = join_world("cpu")
        self.backbone = build_backbone({**job["config"], **modes}, SEED)
        self.backbone.to_global(world.placement, flow.sbp.broadcast)
        with np.load(job["batch"]) as batch:
            self.pixels = batch["images"]
            self.images, self.targets = world.split(self.pixels), world.split(batch["targets"])
        self.label = f"ours: {self.backbone.executor}"


class Forward(OurContestant):
    """Embeddings of a model that does not change, as `Embedder.open` computes them."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        self.embedder = Embedder(self.backbone, self.world, len(self.pixels), is_constant=True)

    def step(self) -> list[float]:
        """Return the embeddings."""
        return self.embedder.embed_parts(self.pixels).ravel().tolist()


class Train(OurContestant):
    """Forward and backward in a graph, then the training's SGD."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        self.backbone.train()
        self.optimizer = Optimizer(self.backbone, None, OptimizerOptions.from_config(job))
        self.updated = self.backbone.updatable(self.optimizer.backbone_names)
        self.memory = self.backbone.allocate_memory(len(self.images), self.updated)
        self.references = [] if self.memory is None else [self.world.split(self.memory.reference)]
        self.graph = BackboneTrainGraph(self.backbone, in_place=self.memory is not None)
        self.keep = self.world.split(np.zeros((len(self.images), 1), np.uint8))  # the network has no dropout

    def step(self) -> list[float]:
        """Return the loss."""
        if self.memory is not None:
            self.backbone.set_updates(self.memory, self.optimizer.early_updates(self.updated, 1.0), measures=False)
        loss, *gradients = self.backbone.run_graph(self.graph, self.images, self.targets, self.keep, *self.references)
        if self.memory is not None:
            gradients[0].to_local().numpy()  # waits for the graph
            gradients = [flow.from_numpy(own) for own in self.backbone.read_gradients(self.memory).values()]
        self.optimizer.step(gradients, 1.0, updated=self.updated)
        value = float(loss.to_local().numpy())
        flow._oneflow_internal.eager.Sync()
        return [value]


PASSES = {"forward": Forward, "train": Train}

if __name__ == "__main__":
    serve(lambda job: PASSES[job["pass"]](job))
