"""SGD with momentum on each rank's own part of the parameters.

OneFlow's rule (buffer = momentum * buffer + gradient + decay * w; w -= lr * buffer), with MXNet's exceptions: weights
and gammas decay, biases and betas do not; the fc7 bias learns twice as fast. Of parameters that a head keeps in row
banks, the rows that took part in the step are updated, by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backbones.module import Backbone
from engine.world import local_view
from ops import flow
from ops.base_head import Head
from ops.row_bank import MomentumRule


class SGD:
    """The update of backbone and head.

    Parameters are known as ``{MXNet name}``, the head's as ``fc7_weight`` and ``fc7_bias``. Order: the backbone's
    parameters, then the head's, as their graphs return the gradients.
    """

    def __init__(self, backbone: Backbone, head: Head | None, config: Mapping[str, Any]) -> None:
        """Take what is to be trained; a backbone alone has no head."""
        named = dict(backbone.named_parameters())
        self._banks = {}
        if head is not None:
            self._banks = {f"fc7_{name}": bank for name, bank in head.banks.items()}
            named |= {f"fc7_{name}": p for name, p in head.named_parameters() if name not in head.banks}
        self._tensors = {name: local_view(parameter).requires_grad_() for name, parameter in named.items()}
        self._lr = config["lr"]
        self._momentum = config["momentum"]
        self._lr_mults = {name: _lr_mult(name, config) for name in (*self._tensors, *self._banks)}
        self._decays = {name: config["weight_decay"] * _wd_mult(name, config) for name in self._lr_mults}
        groups = [{"params": [t], "weight_decay": self._decays[name]} for name, t in self._tensors.items()]
        self._sgd = flow.optim.SGD(groups, lr=self._lr, momentum=self._momentum)

    def step(self, gradients: list[flow.Tensor], scale: float) -> None:
        """Update every parameter by its gradient (global, the parameter's SBP) at ``scale`` times the learning rate.

        The gradient of a parameter in a bank is that of the rows that the bank gathered last.
        """
        rates = {name: self._lr * scale * multiplier for name, multiplier in self._lr_mults.items()}
        dense, sampled = gradients[: len(self._tensors)], gradients[len(self._tensors) :]
        for tensor, gradient in zip(self._tensors.values(), dense, strict=True):
            tensor.grad = local_view(gradient)
        for group, name in zip(self._sgd.param_groups, self._tensors, strict=True):
            group["lr"] = rates[name]
        self._sgd.step()
        for tensor in self._tensors.values():
            tensor.grad = None
        for (name, bank), gradient in zip(self._banks.items(), sampled, strict=True):
            bank.update(local_view(gradient), MomentumRule(rates[name], self._momentum, self._decays[name]))

    def momentum_arrays(self) -> dict[str, np.ndarray]:
        """Return a copy of this rank's momentum buffers by parameter name; zeros before the first step."""
        arrays = {name: self._buffer(tensor).numpy().copy() for name, tensor in self._tensors.items()}
        return arrays | {name: bank.read_momentum() for name, bank in self._banks.items()}

    def load_momentum(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set this rank's momentum buffers; ``arrays`` holds one for every parameter."""
        for name, tensor in self._tensors.items():
            self._buffer(tensor).copy_(flow.tensor(arrays[name], device=tensor.device))
        for name, bank in self._banks.items():
            bank.load_momentum(arrays[name])

    def _buffer(self, tensor: flow.Tensor) -> flow.Tensor:
        # OneFlow keeps the buffer under this key and makes it on the first step; making it early is the same.
        return self._sgd._state[tensor].setdefault("momentum_buf", flow.zeros_like(tensor))


def _lr_mult(name: str, config: Mapping[str, Any]) -> float:
    return {"fc7_weight": config["fc7_lr_mult"], "fc7_bias": 2.0}.get(name, 1.0)


def _wd_mult(name: str, config: Mapping[str, Any]) -> float:
    if name == "fc7_weight":
        return config["fc7_wd_mult"]
    return 1.0 if name.endswith(("_weight", "_gamma")) else 0.0
