"""The settings of optimiser and schedule, checked before a rank is started."""

from __future__ import annotations

import math

from easydict import EasyDict

from common.errors import require


def check_optimizer(config: EasyDict) -> None:
    """Check what has to do with optimiser and schedule.

    Raises:
        UserError: a value is outside of what it may be, or two contradict each other.
    """
    for key in ("lr", "weight_decay", "fc7_lr_mult", "fc7_wd_mult", "clip_gradient", "warmup_steps", "warmup_epochs"):
        require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    for key in ("adam_eps", "lr_power"):
        require(config[key] > 0, f"--{key} {config[key]} must be positive")
    for key in ("max_steps", "end_epoch", "lr_steps_batch", "loss_lambda_freeze"):
        require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    for key in ("nccl_fusion_threshold_mb", "nccl_fusion_max_ops"):
        require(config[key] >= 0, f"--{key} {config[key]} must not be negative; 0 leaves it to OneFlow")
    ends = config.max_steps or config.end_epoch
    require(
        config.train_iter > (-1 if ends else 0),
        f"--train_iter {config.train_iter} must be at least 1, or 0 where --max_steps or --end_epoch is the end",
    )
    pieces = config.gradient_accumulation
    require(pieces > 0, f"--gradient_accumulation {pieces} must be at least 1")
    require(0 <= config.momentum < 1, f"--momentum {config.momentum} must be in [0, 1)")
    require(
        len(config.adam_betas) == 2 and all(0 <= beta < 1 for beta in config.adam_betas),
        f"--adam_betas {config.adam_betas} must be two numbers in [0, 1)",
    )
    require(
        0 <= config.fp16_scale < math.inf and math.frexp(config.fp16_scale)[0] in (0.0, 0.5),
        f"--fp16_scale {config.fp16_scale:g} must be 0 (none) or a power of 2, such as 1024: these divide out exactly",
    )
    require(config.fp16_scale_window >= 0, f"--fp16_scale_window {config.fp16_scale_window} must not be negative")
    require(
        not (config.warmup_steps and config.warmup_epochs),
        f"--warmup_steps {config.warmup_steps} and --warmup_epochs {config.warmup_epochs} are two lengths; give one",
    )
    require(
        len(config.lr_steps) == len(config.scales),
        f"--lr_steps has {len(config.lr_steps)} entries and --scales {len(config.scales)}; one scale for each step",
    )
    require(
        all(a < b for a, b in zip(config.lr_steps, config.lr_steps[1:], strict=False)),
        f"--lr_steps {config.lr_steps} must grow",
    )
