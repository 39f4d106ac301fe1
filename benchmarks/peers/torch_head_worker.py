"""The same head in PyTorch, written for this comparison: a sharded bank, sampled by topk, over gloo.

As in the reference implementations, every row of the shard gets a random number, positives the highest; the rows with
the largest are selected, and their weight and momentum are copied out, trained, and copied back.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional

from benchmarks.peers.head_job import MARGIN, SCALE, SEED, UPDATE, embeddings_of, join_ranks, labels_of, serve_ranks
from benchmarks.peers.protocol import Contestant


class _GatherAll(torch.autograd.Function):
    """Concatenates the parts of all ranks; the backward pass sums the gradients of all ranks for this rank's part."""

    @staticmethod
    def forward(ctx: Any, part: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


class _SumOverRanks(torch.autograd.Function):
    """Sums over ranks; the backward pass gives each rank the full gradient."""

    @staticmethod
    def forward(ctx: Any, part: torch.Tensor) -> torch.Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class TorchHead(Contestant):
    """The bank of this rank and the embeddings of its part of the batch."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.rank, self.count = job, join_ranks(job, "benchmarks.peers.torch_head_worker"), 0
        torch.set_num_threads(job["threads"])
        torch.manual_seed(SEED + self.rank)
        self.several = job["ranks"] > 1
        if self.several:
            dist.init_process_group("gloo")
        rows = -(-job["num_classes"] // job["ranks"])
        self.first = self.rank * rows
        self.rows = min(rows, job["num_classes"] - self.first)
        self.bank = torch.empty(self.rows, job["emb_size"]).normal_(0, 0.01)
        self.momentum = torch.zeros_like(self.bank)
        self.embeddings = torch.from_numpy(embeddings_of(job, self.rank)).requires_grad_()
        self.optimizer = torch.optim.SGD([self.embeddings], UPDATE["lr"], UPDATE["momentum"], 0, UPDATE["weight_decay"])
        self.label = f"PyTorch {torch.__version__}"

    def step(self) -> list[float]:
        """Return the loss."""
        labels = torch.from_numpy(labels_of(self.job, self.rank, self.count)).long()
        self.count += 1
        if self.several:
            parts = [torch.empty_like(labels) for _ in range(self.job["ranks"])]
            dist.all_gather(parts, labels)
            labels = torch.cat(parts)
        own = (labels >= self.first) & (labels < self.first + self.rows)
        target = torch.where(own, labels - self.first, 0)
        whole = self.job["sample_ratio"] == 1
        if whole:
            weight = self.bank.requires_grad_()
        else:
            positives = target[own].unique()
            chance = torch.rand(self.rows)
            chance[positives] = 2.0
            sample = max(math.ceil(self.job["sample_ratio"] * self.rows), len(positives))
            chosen = chance.topk(sample)[1].sort()[0]
            target = torch.where(own, torch.searchsorted(chosen, target), 0)
            weight = self.bank[chosen].requires_grad_()
        loss = self._loss(weight, target, own)
        self.optimizer.zero_grad()
        weight.grad = None
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            gradient = weight.grad.add_(weight, alpha=UPDATE["weight_decay"])
            if whole:
                self.momentum.mul_(UPDATE["momentum"]).add_(gradient)
                self.bank.detach().sub_(self.momentum, alpha=UPDATE["lr"])
            else:
                moved = self.momentum[chosen].mul_(UPDATE["momentum"]).add_(gradient)
                self.momentum[chosen] = moved
                self.bank[chosen] = weight.detach() - UPDATE["lr"] * moved
        return [float(loss.detach())]

    def _loss(self, weight: torch.Tensor, target: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        embeddings = _GatherAll.apply(self.embeddings) if self.several else self.embeddings
        cosines = functional.linear(functional.normalize(embeddings), functional.normalize(weight)).clamp(-1, 1)
        rows = own.nonzero()[:, 0]
        angles = torch.acos(cosines[rows, target[rows]])
        logits = cosines.clone()
        logits[rows, target[rows]] = torch.cos(angles + MARGIN)
        logits = logits * SCALE
        if not self.several:
            return functional.cross_entropy(logits, target)
        with torch.no_grad():
            largest = logits.amax(1)
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        total = _SumOverRanks.apply((logits - largest[:, None]).exp().sum(1))
        mine = torch.zeros(len(target)).index_put((rows,), (logits[rows, target[rows]] - largest[rows]))
        return (total.log() - _SumOverRanks.apply(mine)).mean()


if __name__ == "__main__":
    serve_ranks(TorchHead)
