"""How much memory a training will take, before it starts: estimated, said, and compared with what is free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from backbones.graph import NetworkGraph
from common.errors import UserError

_FLOAT = 4
_PROCESS = 500 << 20  # OneFlow and Python themselves
# Arrays of one size that a step has at a time at most, as measured.
_ROW_COPIES = 3  # all rows: of unit length, their gradient, and its way out of the graph
_SAMPLE_COPIES = 5  # sampled rows: fetched, in the graph, of unit length, their gradient, and its way out
_LOGIT_COPIES = 5
_OPS_KEPT = ("conv", "batch_norm", "prelu", "activation", "fully_connected")


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one rank, and of one snapshot of all ranks."""

    fc7: int
    momentum: int
    rows_in_step: int
    logits: int
    backbone: int
    activations: int
    snapshot: int

    @property
    def rank(self) -> int:
        """All of one rank."""
        parts = (self.fc7, self.momentum, self.rows_in_step, self.logits, self.backbone, self.activations)
        return sum(parts) + _PROCESS

    @property
    def needed(self) -> int:
        """What a rank cannot start without, whatever the batch."""
        return self.fc7 + self.momentum + self.backbone

    def describe(self) -> str:
        """Return one line."""
        return (
            f"memory of a rank, estimated: fc7 {_text(self.fc7)}, its momentum {_text(self.momentum)}, class rows in a "
            f"step {_text(self.rows_in_step)}, logits {_text(self.logits)}, backbone {_text(self.backbone)}, feature "
            f"maps {_text(self.activations)}; {_text(self.rank)} in all; a snapshot takes {_text(self.snapshot)}"
        )


def estimate_memory(config: Mapping[str, Any], network: NetworkGraph, ranks: int) -> MemoryEstimate:
    """Return the estimate for a completed ``config`` on ``ranks`` ranks."""
    classes, width = config["num_classes"], config["emb_size"]
    rows = math.ceil(classes / ranks) if config["model_parallel"] else classes
    batch = config["train_batch_size"] if config["model_parallel"] else config["train_batch_size"] // ranks
    sampled, copies = rows, _ROW_COPIES
    if config["partial_fc"]:
        sampled = min(rows, max(math.ceil(config["sample_ratio"] * rows), min(config["train_batch_size"], rows)))
        copies = _SAMPLE_COPIES
    rows, sampled = rows * config["num_subcenters"], sampled * config["num_subcenters"]
    bank = rows * width * _FLOAT
    trainable = sum(prod(spec.shape) for spec in network.parameters().values() if spec.trainable)
    arrays = sum(prod(spec.shape) for spec in network.parameters().values())
    kept = {name for node in network.nodes if node.op in _OPS_KEPT for name in node.inputs}
    per_image = sum(prod(network.shapes[name]) for name in kept) * (2 if config["use_bf16"] else _FLOAT)
    backbone = (arrays + 2 * trainable) * _FLOAT
    return MemoryEstimate(
        fc7=bank,
        momentum=bank,
        rows_in_step=copies * sampled * width * _FLOAT,
        logits=_LOGIT_COPIES * batch * sampled * _FLOAT,
        backbone=backbone,
        activations=per_image * (config["train_batch_size"] // ranks),
        snapshot=(arrays + trainable) * _FLOAT + 2 * classes * config["num_subcenters"] * width * _FLOAT,
    )


def check_memory(estimate: MemoryEstimate, local_ranks: int, free: int) -> str:
    """Return a warning if ``local_ranks`` ranks are likely not to fit into ``free`` bytes, an empty text if they are.

    Raises:
        UserError: weights and momentum alone do not fit.
    """
    advice = "more ranks on more machines, or a smaller --emb_size"
    if estimate.needed * local_ranks > free:
        raise UserError(
            f"fc7, backbone and their momentum need {_text(estimate.needed * local_ranks)} for {local_ranks} rank(s) "
            f"here, {_text(free)} are free: it takes {advice}"
        )
    if estimate.rank * local_ranks <= free:
        return ""
    return (
        f"warning: {local_ranks} rank(s) here are likely to need {_text(estimate.rank * local_ranks)} and "
        f"{_text(free)} are free; a smaller --train_batch_size or --partial_fc 1 with a smaller --sample_ratio takes "
        f"less, so do {advice}"
    )


def free_memory(meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Return the bytes that new processes can have: the machine's, or what a container leaves of its limit."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    used = limit.with_name("memory.current")
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def _text(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
