"""The updates of one parameter, or of some rows of one, by OneFlow's kernels; optimisers are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from ops import flow


class UpdateRule(Protocol):
    """What happens to a float32 tensor in one step."""

    def apply(self, weight: flow.Tensor, gradient: flow.Tensor, *moments: flow.Tensor) -> None:
        """Change the local ``weight`` in place, and what the rule keeps from step to step, zeros at first."""


@dataclass(frozen=True)
class MomentumRule:
    """moment = momentum * moment + (gradient + weight_decay * w); w -= lr * moment: OneFlow's SGD. One moment."""

    lr: float
    momentum: float
    weight_decay: float

    def apply(self, weight: flow.Tensor, gradient: flow.Tensor, *moments: flow.Tensor) -> None:
        """See ``UpdateRule``."""
        flow._C.dispatch_momentum_update(
            _build_op("momentum_update", ("model", "model_diff", "momentum")),
            (weight, gradient, *moments),
            learning_rate=self.lr,
            l2=self.weight_decay,
            beta=self.momentum,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


@dataclass(frozen=True)
class AdamWRule:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as in PyTorch's AdamW.

    Two moments: the moving means of the gradient and of its square, uncorrected for their start at 0; ``step``, which
    counts from 1, decides the correction.
    """

    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    step: int

    def apply(self, weight: flow.Tensor, gradient: flow.Tensor, *moments: flow.Tensor) -> None:
        """See ``UpdateRule``."""
        corrections = [1.0 - beta**self.step for beta in self.betas]
        flow._C.dispatch_adam_update(
            _build_op("adam_update", ("model", "model_diff", "m", "v")),
            (weight, gradient, *moments),
            learning_rate=self.lr,
            weight_decay=self.weight_decay,
            beta1=self.betas[0],
            beta2=self.betas[1],
            bias_correction1=corrections[0],
            bias_correction2=corrections[1],
            epsilon=self.eps,
            do_bias_correction=True,
            amsgrad=False,
        )


@cache
def _build_op(name: str, inputs: tuple[str, ...]) -> Any:
    builder = flow.stateful_op(name)
    for each in inputs:
        builder = builder.Input(each)
    return builder.Build()
