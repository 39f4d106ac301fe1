"""Fill in the settings that follow from others once device and number of ranks are known: the only place that does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backbones import build_network
from common.errors import UserError
from settings.checks import check_triplet_batch
from settings.config import Config
from settings.precision import check_bfloat16_device, resolve_precision


def complete_config(config: Mapping[str, Any], ranks: int, device: str) -> Config:
    """Return the settings of a training on ``ranks`` ranks, over all nodes, of ``device``, "cpu" or "cuda".

    Raises:
        UserError: the batch cannot be divided over the ranks, or ``sync_bn``, ``use_bf16`` or ``fc7_storage`` does not
            fit the device or the number of ranks.
    """
    check_bfloat16_device(config, device)
    if config["sync_bn"] and config["use_bf16"] and ranks > 1:
        raise UserError("--sync_bn 1 on several ranks computes in float32; omit --use_bf16 1 or use one rank")
    if config["fc7_storage"] == "mmap" and device != "cpu":
        raise UserError(f"--fc7_storage mmap is for the CPU and this run is on {device}; omit it or add --device cpu")
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
    completed = completed.replaced(lr_steps=place_lr_steps(completed))
    return resolve_precision(completed, ranks, build_network(completed))


def place_lr_steps(config: Mapping[str, Any]) -> list[int]:
    """Return ``lr_steps`` for the run's ``train_batch_size``, as train_softmax.py places them.

    ``lr_steps_batch`` is the batch they are meant for; another batch reaches them after as many images. They count from
    the end of ``loss_lambda_freeze``.
    """
    meant = config["lr_steps_batch"] or config["train_batch_size"]
    scale = meant / config["train_batch_size"]
    return [int(step * scale) + config["loss_lambda_freeze"] for step in config["lr_steps"]]
