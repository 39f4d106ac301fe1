"""This project's head: sampling, compiled graph, optimiser. The embeddings are parameters."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.head_job import MARGIN, SCALE, SEED, UPDATE, embeddings_of, join_ranks, labels_of, serve_ranks
from benchmarks.peers.protocol import Contestant


class HeadContestant(Contestant):
    """A head, and a table of embeddings as the only other parameter."""

    def __init__(self, job: dict[str, Any]) -> None:
        rank = join_ranks(job, "benchmarks.peers.ours_head_worker")
        # OneFlow reads its rank from the environment on import.
        from benchmarks.train_graphs import EmbeddingTable, HeadTrainGraph
        from engine.optimizer import Optimizer
        from engine.options import OptimizerOptions
        from launch.world import join_world
        from ops import KERNELS
        from ops.heads.build import build_head
        from ops.heads.options import HeadOptions
        from ops.rows.storage import RowStorage

        self.job, self.rank, self.count = job, rank, 0
        self.world = join_world("cpu")
        config = {
            "num_classes": job["num_classes"],
            "emb_size": job["emb_size"],
            "train_batch_size": job["size"],
            "loss_name": "margin_softmax",
            "loss_m1": 1.0,
            "loss_m2": MARGIN,
            "loss_m3": 0.0,
            "loss_s": SCALE,
            "easy_margin": False,
            "interclass_filtering_threshold": 0.0,
            "num_subcenters": 1,
            "seed": SEED,
            "model_parallel": True,
            "partial_fc": job["sample_ratio"] < 1,
            "sample_ratio": job["sample_ratio"],
            "fc7_dtype": job["row_dtype"],
        }
        self.table = EmbeddingTable(self.world.split(embeddings_of(job, rank)))
        folder = Path(tempfile.gettempdir()) if job["storage"] == "mmap" else None
        self.head = build_head(HeadOptions.from_config(config), self.world, RowStorage(folder))
        self.graph = HeadTrainGraph(self.table, self.head)
        self.optimizer = Optimizer(self.table, self.head, OptimizerOptions.from_config(UPDATE))
        self.label = f"ours ({KERNELS.removeprefix('CPU kernels: ')})"

    def step(self) -> list[float]:
        """Return the loss."""
        from ops import flow

        labels = labels_of(self.job, self.rank, self.count)
        loss, *results = self.graph(*self.head.prepare(labels, self.count, self.world))
        self.optimizer.step(self.graph.row_gradients(results), 1.0)
        value = float(loss.to_local().numpy())
        flow._oneflow_internal.eager.Sync()
        self.count += 1
        return [value]


if __name__ == "__main__":
    serve_ranks(HeadContestant)
