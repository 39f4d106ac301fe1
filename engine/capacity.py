"""Plan a training of any size before there are machines for it: memory, bytes between ranks, the largest batch.

Memory comes from the formulas that a training prints and checks before it starts (``engine.memory``). Bytes on the wire
are those of the collectives that a step runs (docs/architecture.md): ring algorithms, in which a rank sends as much as
it receives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from backbones.graph.network_graph import NetworkGraph
from engine.memory import MemoryEstimate, estimate_memory, trainable_numbers
from engine.teacher_model import open_teacher
from engine.teacher_rows import TeacherRows, find_teacher_rows
from settings.choices import TRIPLET_LOSSES
from settings.config import Config

_FLOAT = 4
_MOST_IMAGES = 1 << 16  # of a rank, that the search for the largest batch tries
_MOST_RANKS = 1 << 14
RATIOS = (1.0, 0.5, 0.3, 0.1, 0.05, 0.03, 0.01)  # of Partial FC, tried when it is in use


@dataclass(frozen=True)
class Wire:
    """Bytes that each rank receives in a step, and as many that it sends.

    Attributes:
        backbone: gradients of the backbone, summed over the ranks.
        embeddings: all embeddings to every rank, and their gradient back.
        rows: gradients of the class rows, which only the replicated head sums.
        small: labels, places in the sample, and a few numbers for each image and rank.
    """

    backbone: int
    embeddings: int
    rows: int
    small: int

    @property
    def total(self) -> int:
        """All bytes of a step."""
        return self.backbone + self.embeddings + self.rows + self.small

    def seconds(self, gbit: float) -> float:
        """Return the time that a link of ``gbit`` Gbit/s each way needs for them, if nothing overlaps."""
        return self.total * 8 / (gbit * 1e9)


@dataclass(frozen=True)
class RunPlan:
    """What a run needs and what fits.

    Attributes:
        ranks: number of ranks.
        memory: free bytes of each rank.
        estimate: bytes of a rank and of a snapshot.
        wire: bytes of a step.
        largest_batch: images per step over all ranks that fit; 0 if not even the smallest batch does.
        smallest_ranks: the fewest ranks that fit, each with as many images as now; 0 if no number does.
        ratios: of Partial FC, sample ratio to the bytes of a rank.
        advice: one line.
    """

    ranks: int
    memory: int
    estimate: MemoryEstimate
    wire: Wire
    largest_batch: int
    smallest_ranks: int
    ratios: dict[float, int]
    advice: str

    @property
    def fits(self) -> bool:
        """Whether a rank's memory holds the run."""
        return self.estimate.rank <= self.memory


def wire_bytes(config: Mapping[str, Any], network: NetworkGraph, ranks: int, taught: TeacherRows | None = None) -> Wire:
    """Return the bytes that each of ``ranks`` ranks receives in a step of a completed ``config``.

    ``taught``: the teacher's class rows, if its softmax over the classes is learned.
    """
    share = (ranks - 1) / ranks  # of what the ranks hold together, the part that comes from others
    batch, width, pieces = config["train_batch_size"], config["emb_size"], config["gradient_accumulation"]
    backbone = 0 if config["freeze_backbone_steps"] else 2 * share * trainable_numbers(network) * _FLOAT * pieces
    embeddings = 2 * share * batch * width * _FLOAT
    labels = share * batch * _FLOAT
    if config["loss_name"] in TRIPLET_LOSSES:
        return Wire(int(backbone), int(embeddings), 0, int(labels))
    if config["model_parallel"] or config["partial_fc"]:
        # From every other rank, for each image of the batch: largest, own and best logit, and sum; place in the sample.
        numbers = 5 if config["partial_fc"] else 4
        if taught is not None:  # its embeddings; of both softmaxes largest and sum, and what is between them
            embeddings += share * batch * taught.length * _FLOAT
            numbers += 5
        return Wire(int(backbone), int(embeddings), 0, int(labels + numbers * (ranks - 1) * batch * _FLOAT))
    rows = 2 * share * config["num_classes"] * config["num_subcenters"] * width * _FLOAT * pieces
    return Wire(int(backbone), 0, int(rows), 0)


def plan_run(config: Config, network: NetworkGraph, ranks: int, memory: int) -> RunPlan:
    """Return what a completed ``config`` needs on ``ranks`` ranks with ``memory`` free bytes each, and what fits.

    Raises:
        UserError: the teacher, which is opened for its sizes, cannot be used.
    """
    model = open_teacher(config)
    teacher, taught = None if model is None else model.network, find_teacher_rows(config, model)

    def needed(at: int = ranks, **changes: Any) -> int:
        return estimate_memory(config.replaced(**changes), network, at, teacher, taught).rank

    unit = ranks * config.gradient_accumulation
    images = config.train_batch_size // ranks
    per_rank = _largest(_MOST_IMAGES, lambda n: needed(train_batch_size=n * unit) <= memory)
    smallest = _smallest(_MOST_RANKS, lambda r: needed(r, train_batch_size=images * r) <= memory)
    ratios = {r: needed(sample_ratio=r) for r in RATIOS} if config.partial_fc else {}
    estimate, wire = (
        estimate_memory(config, network, ranks, teacher, taught),
        wire_bytes(config, network, ranks, taught),
    )
    plan = RunPlan(ranks, memory, estimate, wire, per_rank * unit, smallest, ratios, "")
    return replace(plan, advice=_advise(config, plan, needed))


def _advise(config: Config, plan: RunPlan, needed: Callable[..., int]) -> str:
    """Return one line: that it fits, or the first change that makes it fit."""
    if plan.fits:
        return f"it fits; the largest batch that does is {plan.largest_batch} images over all ranks"
    changes: list[tuple[str, dict[str, Any]]] = []
    triplet = config.loss_name in TRIPLET_LOSSES
    if not triplet and not config.model_parallel:
        changes.append(("--model_parallel 1", {"model_parallel": True}))
    if not triplet and not config.partial_fc:
        change = {"model_parallel": True, "partial_fc": True, "sample_ratio": 0.1}
        changes.append(("--partial_fc 1 --sample_ratio 0.1", change))
    if not triplet and config.partial_fc and config.sample_ratio > 0.1:
        changes.append(("--sample_ratio 0.1", {"sample_ratio": 0.1}))
    if not triplet and config.device == "cpu" and config.fc7_dtype == "float32":
        changes.append(("--fc7_dtype bf16", {"fc7_dtype": "bf16"}))
    if config.partial_fc and config.device == "cpu" and config.fc7_storage == "memory":
        changes.append(("--fc7_storage mmap", {"fc7_storage": "mmap"}))
    ways = [
        f"{flags} ({needed(**change) / 1e9:.1f} GB)" for flags, change in changes if needed(**change) <= plan.memory
    ]
    if plan.largest_batch:
        ways.append(f"--train_batch_size {plan.largest_batch}")
    if plan.smallest_ranks:
        ways.append(f"{plan.smallest_ranks} ranks")
    return f"it does not fit; use {' or '.join(ways)}" if ways else "it does not fit, and no single change makes it fit"


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number from 1 to ``most`` that fits, if all below it do; 0 if 1 does not."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _smallest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the smallest number up to ``most`` that fits, if those between it and the next power of two do; else 0.

    Much larger numbers need not fit: a batch that grows with the ranks has logits that each of them holds.
    """
    high = 1
    while not fits(high):
        high *= 2
        if high > most:
            return 0
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
