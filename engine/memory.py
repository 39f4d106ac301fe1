"""Estimate the memory of a training before it starts, and compare it with the free memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from common.free_memory import free_memory
from engine.feature_maps import HELD, USED_UP, Numbers, block_bytes, inference_bytes, stored_bytes
from engine.schedule import make_plan
from ops.heads.class_sampling import ClassSampling
from ops.heads.class_shards import ClassShards
from ops.moments import MOMENTS
from settings.choices import TRIPLET_LOSSES
from settings.precision import layers_without_kernels

if TYPE_CHECKING:
    from engine.teacher_rows import TeacherRows

_FLOAT = 4
_ROW_NUMBER = {"float32": _FLOAT, "bf16": 2}  # bytes, by fc7_dtype
# OneFlow and Python: with the whole backbone as one op, which unmaps code that only the start needs, and otherwise.
_PROCESS, _WHOLE_PROCESS = 270_000_000, 400_000_000
_START = 375_000_000  # of the former before the first step, without class rows and backbone
_PEERS = 10_000_000  # connections to other ranks and their buffers
# Largest number of arrays of one size that a step holds at a time, as measured.
_ROW_COPIES = 7  # all rows: normalised, their gradient, and its copies on the way out of the graph
_SUMMED_ROWS = 4  # further ones where their gradients are summed over ranks
_SAMPLE_COPIES = 11  # sampled rows: selected, in the graph, normalised, their gradient, its copies
_IN_PLACE_COPIES = 1  # either kind on a CPU with the kernels: the gradient
_SOFTMAX_COPIES = 21  # further ones with a teacher's softmax over the classes, many of them buffers of its sums
_TAUGHT_COPIES = 2  # of a teacher's rows in a step, unless in place
_LOGIT_COPIES, _LOGIT_COPIES_OF_MANY = 15, 18  # of one rank, of several
_IN_UPDATE = 0.5  # of the backbone, what updates under way hold without the kernels


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one rank, and of one snapshot of all ranks.

    ``momentum`` is everything that the optimiser keeps for fc7; ``teacher`` has its class rows, too; ``in_files`` is
    the part of all rows and moments in mapped files; ``process`` are the libraries, Python, and connections to other
    ranks.
    """

    fc7: int
    momentum: int
    rows_in_step: int
    logits: int
    backbone: int
    activations: int
    snapshot: int
    in_files: int = 0
    process: int = _WHOLE_PROCESS
    teacher: int = 0

    @property
    def rank(self) -> int:
        """Everything that one rank holds in memory."""
        in_step = (self.rows_in_step, self.logits, self.activations, self.teacher)
        parts = (self.fc7, self.momentum, self.backbone, *in_step)
        return sum(parts) - self.in_files + self.process

    @property
    def certain(self) -> int:
        """What a rank certainly needs: half of the estimate, which few kinds of runs were measured for."""
        return self.rank // 2

    @property
    def needed(self) -> int:
        """The memory of a rank that does not depend on the batch size."""
        return self.fc7 + self.momentum - self.in_files + self.backbone

    def describe(self) -> str:
        """Return the estimate in one line."""
        whole = f"{in_gb(self.rank)} in all" + (f" and {in_gb(self.in_files)} in mapped files" if self.in_files else "")
        teacher = f"teacher {in_gb(self.teacher)}, " if self.teacher else ""
        return (
            f"memory of a rank, estimated: fc7 {in_gb(self.fc7)}, its moments {in_gb(self.momentum)}, class rows in a "
            f"step {in_gb(self.rows_in_step)}, logits {in_gb(self.logits)}, backbone {in_gb(self.backbone)}, feature "
            f"maps {in_gb(self.activations)}, {teacher}the process itself {in_gb(self.process)}; {whole}; "
            f"a snapshot takes {in_gb(self.snapshot)}"
        )


def estimate_memory(
    config: Mapping[str, Any],
    network: NetworkGraph,
    ranks: int,
    teacher: NetworkGraph | None = None,
    taught: TeacherRows | None = None,
) -> MemoryEstimate:
    """Return the estimate for a completed ``config`` on ``ranks`` ranks.

    Args:
        config: the settings.
        network: of the run.
        ranks: over all machines.
        teacher: the network of its teacher.
        taught: the teacher's class rows, if its softmax over the classes is learned.
    """
    classes, width = config["num_classes"], config["emb_size"]
    if config["loss_name"] in TRIPLET_LOSSES:
        classes = 0
    shards = ClassShards(classes, ranks if config["model_parallel"] else 1)
    rows = shards.rows
    batch = config["train_batch_size"] if config["model_parallel"] else config["train_batch_size"] // ranks
    sampled, copies = rows, _ROW_COPIES
    if config["partial_fc"]:
        sampled = ClassSampling(shards, config["sample_ratio"], config["train_batch_size"], seed=0).slots
        copies = _SAMPLE_COPIES
    in_place = config["native_ops"] and config["loss_name"] != "inter"  # which needs all rows at once
    is_narrow = config["fc7_dtype"] == "bf16"  # always in place
    if (config["model_parallel"] and config["device"] == "cpu" and in_place) or is_narrow:
        copies = _IN_PLACE_COPIES
    if not config["model_parallel"] and ranks > 1:
        copies += 2 if is_narrow else _SUMMED_ROWS
    images_in_step = batch // config["gradient_accumulation"]
    of_teacher, in_softmax = 0, 0
    if taught is not None:
        of_teacher = rows * taught.centres * taught.length * _FLOAT
        in_softmax = (_SOFTMAX_COPIES + 2 * (taught.centres - 1)) * images_in_step * sampled * _FLOAT
        if copies > _IN_PLACE_COPIES:
            in_softmax += _TAUGHT_COPIES * sampled * taught.centres * taught.length * _FLOAT
    rows, sampled = rows * config["num_subcenters"], sampled * config["num_subcenters"]
    row_number = _ROW_NUMBER[config["fc7_dtype"]]
    bank = rows * width * row_number
    trainable = trainable_numbers(network)
    arrays = sum(prod(spec.shape) for spec in network.parameters().values())
    images = config["train_batch_size"] // ranks // config["gradient_accumulation"]
    moments = len(MOMENTS[config["optimizer"]])
    pieces = config["gradient_accumulation"] > 1  # beside the gradients of a piece, their sum
    process = _WHOLE_PROCESS
    if _is_one_op(config, network, ranks):
        process = _PROCESS
        numbers = Numbers.of(config["use_bf16"])
        # The op leaves the gradients where it computes.
        if _is_frozen(config):
            activations, gradients = inference_bytes(network, images, numbers), 0.0
        else:
            recompute = config.get("recompute", False)
            where = USED_UP if _updates_early(config, ranks) else HELD
            activations, gradients = block_bytes(network, images, numbers, recompute, where), float(pieces)
    else:
        activations, gradients = stored_bytes(network, images, config["use_bf16"]), pieces + 1 + _IN_UPDATE
    averages = 2 if config.get("ema_decay") else 0  # the average, and what it replaces while it is verified
    backbone = (1 + averages) * arrays * _FLOAT + int((moments + gradients) * trainable) * _FLOAT
    copies_of_logits = _LOGIT_COPIES if ranks == 1 else _LOGIT_COPIES_OF_MANY
    logits = copies_of_logits * images_in_step * sampled * _FLOAT
    rows_in_step = (copies + pieces) * sampled * width * _FLOAT
    process = max(process, _START - activations - logits - rows_in_step)
    return MemoryEstimate(
        fc7=bank,
        momentum=moments * bank,
        rows_in_step=rows_in_step,
        logits=logits,
        backbone=backbone,
        activations=activations,
        teacher=0 if teacher is None else _teacher_bytes(teacher, images, config["use_bf16"]) + of_teacher + in_softmax,
        process=process + (_PEERS if ranks > 1 else 0),
        in_files=(1 + moments) * bank + of_teacher if config["fc7_storage"] == "mmap" else 0,
        snapshot=(arrays * (2 if averages else 1) + moments * trainable) * _FLOAT
        + (1 + moments) * classes * config["num_subcenters"] * width * row_number,
    )


def _is_one_op(config: Mapping[str, Any], network: NetworkGraph, ranks: int) -> bool:
    """Return whether the kernels execute the whole backbone as one op, if they can be built here."""
    if config["device"] != "cpu" or not config["native_ops"] or (config["sync_bn"] and ranks > 1):
        return False
    return not layers_without_kernels(network)


def _teacher_bytes(network: NetworkGraph, images: int, bfloat16: bool) -> int:
    """Return the bytes of a teacher that embeds ``images`` at a time."""
    arrays = sum(prod(spec.shape) for spec in network.parameters().values()) * _FLOAT
    return arrays + inference_bytes(network, images, Numbers.of(bfloat16 and not layers_without_kernels(network)))


def _updates_early(config: Mapping[str, Any], ranks: int) -> bool:
    """Return whether the backward pass updates the backbone (``engine.step.TrainStep``), as far as settings decide."""
    scales = config.get("fp16_scale", 1) not in (0, 1) or config.get("fp16_scale_window", 0)
    needs_all = config["gradient_accumulation"] > 1 or config.get("clip_gradient", 0) or scales
    return ranks == 1 and config["optimizer"] == "sgd" and not needs_all


def _is_frozen(config: Mapping[str, Any]) -> bool:
    """Return whether no step of the run trains the backbone."""
    steps = config.get("freeze_backbone_steps", 0)
    return steps > 0 and steps >= make_plan(config, config["total_img_num"]).total_steps


def trainable_numbers(network: NetworkGraph) -> int:
    """Return how many numbers of the network are trained."""
    return sum(prod(spec.shape) for spec in network.parameters().values() if spec.trainable)


def check_memory(estimate: MemoryEstimate, local_ranks: int, free: int) -> str:
    """Return a warning if ``local_ranks`` ranks probably do not fit into ``free`` bytes, else an empty text.

    Raises:
        UserError: weights and momentum alone do not fit into the memory, or the whole certainly does not.
    """
    advice = (
        "more ranks on more machines, --fc7_dtype bf16 (CPU), --fc7_storage mmap (CPU, Partial FC), or a smaller "
        "--emb_size"
    )
    if estimate.needed * local_ranks > free:
        raise UserError(
            f"fc7, backbone and their moments need {in_gb(estimate.needed * local_ranks)} for {local_ranks} rank(s) "
            f"here, {in_gb(free)} are free: use {advice}"
        )
    if estimate.certain * local_ranks > free:
        raise UserError(
            f"{local_ranks} rank(s) here need about {in_gb(estimate.rank * local_ranks)}, of which feature maps are "
            f"{in_gb(estimate.activations * local_ranks)} and logits {in_gb(estimate.logits * local_ranks)}, and "
            f"{in_gb(free)} are free: use a smaller --train_batch_size, a larger --gradient_accumulation, or {advice}"
        )
    if estimate.rank * local_ranks <= free:
        return ""
    return (
        f"warning: {local_ranks} rank(s) here are likely to need {in_gb(estimate.rank * local_ranks)} and "
        f"{in_gb(free)} are free; use a smaller --train_batch_size, --partial_fc 1 with a smaller "
        f"--sample_ratio, {advice}"
    )


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """Return the bytes of this process that are in memory."""
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def has_room(count: int, local_ranks: int) -> bool:
    """Return whether a copy of ``count`` bytes takes at most half of each local rank's share of the free memory."""
    return 2 * count * local_ranks <= free_memory()


def in_gb(count: int) -> str:
    """Return a number of bytes in gigabytes."""
    return f"{count / 1e9:.2f} GB"
