"""Update rules for one parameter or some of its rows, by OneFlow's kernels; from simple to difficult."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from typing_extensions import override

from ops import flow


class UpdateRule(Protocol):
    """The update of a float32 tensor in one step."""

    def apply(self, weight: flow.Tensor, gradient: flow.Tensor, *moments: flow.Tensor) -> None:
        """Update the local ``weight`` and the ``moments`` in place.

        Moments are what the rule keeps from step to step; they have the shape of ``weight`` and start at 0.
        """


@dataclass(frozen=True)
class MomentumRule(UpdateRule):
    """OneFlow's SGD: moment = momentum * moment + (gradient + weight_decay * w); w -= lr * moment. One moment."""

    lr: float
    momentum: float
    weight_decay: float

    @override
    def apply(self, weight: flow.Tensor, gradient: flow.Tensor, *moments: flow.Tensor) -> None:
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
class AdamWRule(UpdateRule):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as in PyTorch's AdamW.

    Two moments: the moving means of the gradient and of its square, stored without the correction for their start at
    0, which depends on ``step``, counted from 1.
    """

    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    step: int

    @override
    def apply(self, weight: flow.Tensor, gradient: flow.Tensor, *moments: flow.Tensor) -> None:
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
