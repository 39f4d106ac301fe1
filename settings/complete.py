"""Fill in the settings that follow from others once device and number of ranks are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from easydict import EasyDict

from backbones import build_network
from common.errors import UserError
from settings.checks import check_triplet_batch
from settings.precision import settle_precision


def complete_config(config: EasyDict, ranks: int, device: str) -> EasyDict:
    """Fill in what depends on the number of ranks, over all nodes.

    Raises:
        UserError: the batch cannot be divided over the ranks, or ``sync_bn`` or ``fc7_storage`` does not fit.
    """
    if config.sync_bn and config.use_bf16 and ranks > 1:
        raise UserError("--sync_bn 1 on several ranks computes in float32; leave --use_bf16 1 away or take one rank")
    if config.fc7_storage == "mmap" and device != "cpu":
        raise UserError(
            f"--fc7_storage mmap is for the CPU and this run is on {device}; leave it away or add --device cpu"
        )
    completed = EasyDict(config)
    completed.device = device
    # Made-up people teach nothing that is worth verifying, and whoever tries them has no real sets at hand.
    completed.do_validation_while_train = config.do_validation_while_train and not config.use_synthetic_data
    completed.train_batch_size = config.train_batch_size or config.train_batch_size_per_device * ranks
    if completed.train_batch_size % ranks:
        raise UserError(f"--train_batch_size {completed.train_batch_size} is no multiple of the {ranks} ranks")
    pieces = config.gradient_accumulation
    if completed.train_batch_size // ranks % pieces:
        raise UserError(
            f"--gradient_accumulation {pieces} must divide the {completed.train_batch_size // ranks} images a step of "
            f"each rank (--train_batch_size {completed.train_batch_size} over {ranks} rank(s))"
        )
    check_triplet_batch(completed, ranks)
    completed.lr_steps = place_lr_steps(completed)
    settle_precision(completed, ranks, build_network(completed))
    return completed


def place_lr_steps(config: Mapping[str, Any]) -> list[int]:
    """Return ``lr_steps`` for the run's ``train_batch_size``, as train_softmax.py places them.

    With ``lr_steps_batch`` they are meant for that batch, and another one reaches them after as many images. They count
    from the end of ``loss_lambda_freeze``.
    """
    meant = config["lr_steps_batch"] or config["train_batch_size"]
    scale = meant / config["train_batch_size"]
    return [int(step * scale) + config["loss_lambda_freeze"] for step in config["lr_steps"]]
