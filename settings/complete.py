"""Derive settings from others: from the given flags, the device and the number of ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backbones import build_network
from common.errors import UserError
from settings.batch_norm import check_batch_norm
from settings.checks import check_people_batch, check_triplet_batch
from settings.config import Config
from settings.precision import check_bfloat16_device, resolve_precision
from settings.recomputing import check_recompute

# Batch size per rank -> batch size over all ranks.
_BATCHES = {"train_batch_size_per_device": "train_batch_size", "val_batch_size_per_device": "val_batch_size"}


def complete_config(config: Mapping[str, Any], ranks: int, device: str) -> Config:
    """Return the settings of a training on ``ranks`` ranks, over all nodes, of ``device``, "cpu" or "cuda".

    Raises:
        UserError: the batch cannot be divided over the ranks or is too small for BatchNorm, or ``sync_bn``,
            ``use_bf16``, ``recompute``, ``fc7_dtype`` or ``fc7_storage`` does not fit the device, the network or the
            number of ranks.
    """
    check_bfloat16_device(config, device)
    if config["sync_bn"] and config["use_bf16"] and ranks > 1:
        raise UserError("--sync_bn 1 on several ranks computes in float32; omit --use_bf16 1 or use one rank")
    if config["fc7_storage"] == "mmap" and device != "cpu":
        raise UserError(f"--fc7_storage mmap is for the CPU and this run is on {device}; omit it or add --device cpu")
    if config["fc7_dtype"] != "float32" and device != "cpu":
        raise UserError(
            f"--fc7_dtype {config['fc7_dtype']} is for the CPU and this run is on {device}; omit it or add --device cpu"
        )
    batch = config["train_batch_size"] or config["train_batch_size_per_device"] * ranks
    if batch % ranks:
        raise UserError(f"--train_batch_size {batch} is not a multiple of the {ranks} ranks")
    pieces = config["gradient_accumulation"]
    if batch // ranks % pieces:
        raise UserError(
            f"--gradient_accumulation {pieces} must divide the {batch // ranks} images a step of each rank "
            f"(--train_batch_size {batch} over {ranks} rank(s))"
        )
    completed = Config(config).replaced(
        device=device,
        train_batch_size=batch,
        # The accuracy of a network trained on synthetic images is meaningless.
        do_validation_while_train=config["do_validation_while_train"] and not config["use_synthetic_data"],
    )
    check_triplet_batch(completed, ranks)
    check_people_batch(completed)
    completed = completed.replaced(lr_steps=place_lr_steps(completed))
    network = build_network(completed)
    check_batch_norm(completed, ranks, network)
    check_recompute(completed, network, ranks)
    return resolve_precision(completed, ranks, network)


def place_lr_steps(config: Mapping[str, Any]) -> list[int]:
    """Return ``lr_steps`` for the run's ``train_batch_size``, as train_softmax.py places them.

    ``lr_steps_batch`` is the batch they are meant for; another batch reaches them after as many images. They count from
    the end of ``loss_lambda_freeze``.
    """
    meant = config["lr_steps_batch"] or config["train_batch_size"]
    scale = meant / config["train_batch_size"]
    return [int(step * scale) + config["loss_lambda_freeze"] for step in config["lr_steps"]]


def apply_flags(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``values`` of files, overridden by the ``given`` flags and by what follows from these.

    A given batch size per rank replaces a file's batch size over all ranks, and ``scales`` follow ``lr_steps``.
    """
    settings = {**values, **given}
    for per_rank, in_all in _BATCHES.items():
        if per_rank in given and in_all not in given:
            settings[in_all] = 0
    if "lr_steps" in given or "scales" in given:
        settings["scales"] = fit_scales(settings["lr_steps"], settings["scales"], "scales" in given)
    return settings


def fit_scales(steps: list[int], scales: list[float], is_given: bool) -> list[float]:
    """Return one scale for each of ``steps``, if ``scales`` can be fitted.

    A list of older programs starts with the scale before the first step, 1. If scales are not given and their number
    differs, each step divides the rate by ten, as in train.py.
    """
    if len(scales) == len(steps) + 1 and scales[0] == 1:
        return scales[1:]
    if not is_given and len(scales) != len(steps):
        return [round(0.1 ** (i + 1), 12) for i in range(len(steps))]
    return scales
