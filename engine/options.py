"""The settings of a training step and its update. Needs no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class OptimizerOptions:
    """The update rule and its numbers; fields are the keys of sample_config.py.

    Attributes:
        optimizer: ``sgd`` or ``adamw``.
        lr: learning rate, which a schedule scales from step to step.
        weight_decay: of weights and gammas.
        momentum: of SGD.
        adam_betas: of AdamW: the decay of the mean gradient and of its mean square.
        adam_eps: of AdamW: what is added to the root of the mean square.
        backbone_lr_mult: multiplies the learning rate of the backbone.
        layer_lr_decay: multiplies the learning rate of each layer of weights once more than that of the layer after it.
        fc7_lr_mult: multiplies the learning rate of the class rows.
        fc7_wd_mult: multiplies the weight decay of the class rows.
    """

    optimizer: str = "sgd"
    lr: float = 0.1
    weight_decay: float = 0.0005
    momentum: float = 0.9
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_eps: float = 1e-8
    backbone_lr_mult: float = 1.0
    layer_lr_decay: float = 1.0
    fc7_lr_mult: float = 1.0
    fc7_wd_mult: float = 1.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> OptimizerOptions:
        """Take the known keys of ``config``; a missing key means its default."""
        values = _known(cls, config)
        if "adam_betas" in values:
            values["adam_betas"] = tuple(values["adam_betas"])
        return cls(**values)


@dataclass(frozen=True)
class StepOptions:
    """How a training step computes; fields are the keys of sample_config.py.

    Attributes:
        optimizer: the update.
        freeze_backbone_steps: steps at the start of the run that train the head alone.
        gradient_accumulation: equal pieces in which each rank computes its part of the batch.
        clip_gradient: largest norm of the gradient; 0 does not clip.
        use_fp16: mixed precision on GPUs.
        ema_decay: of the moving average of the backbone's weights; 0 keeps none.
        teacher_weight: of the distance to a teacher's embeddings, if there is a teacher.
        fp16_scale: what the loss is multiplied by before the backward pass; 0 means 1.
        fp16_scale_window: good steps after which the scale doubles; 0 keeps it constant.
        seed: of the draws of dropout.
    """

    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    freeze_backbone_steps: int = 0
    gradient_accumulation: int = 1
    clip_gradient: float = 0.0
    use_fp16: bool = False
    ema_decay: float = 0.0
    teacher_weight: float = 1.0
    fp16_scale: float = 1.0
    fp16_scale_window: int = 0
    seed: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> StepOptions:
        """Take the known keys of ``config``; a missing key means its default."""
        return cls(**{**_known(cls, config), "optimizer": OptimizerOptions.from_config(config)})


def _known(options: type, config: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: config[each.name] for each in fields(options) if each.name in config}
