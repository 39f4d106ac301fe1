"""SGD with momentum on each rank's own part of the parameters.

OneFlow's rule (buffer = momentum * buffer + gradient + decay * w; w -= lr * buffer), with MXNet's exceptions: weights
and gammas decay, biases and betas do not; the fc7 bias learns twice as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backbones.module import Backbone
from engine.world import local_view
from ops import flow
from ops.head import MarginSoftmaxHead


class SGD:
    """The update of backbone and head.

    Parameters are known as ``{MXNet name}``, the head's as ``fc7_weight`` and ``fc7_bias``. Order: the backbone's
    parameters, then the head's, as their graphs return the gradients.
    """

    def __init__(self, backbone: Backbone, head: MarginSoftmaxHead, config: Mapping[str, Any]) -> None:
        named = dict(backbone.named_parameters()) | {f"fc7_{k}": p for k, p in head.named_parameters()}
        self._tensors = {name: local_view(parameter).requires_grad_() for name, parameter in named.items()}
        self._lr = config["lr"]
        groups = [
            {
                "params": [tensor],
                "lr_mult": _lr_mult(name, config),
                "weight_decay": config["weight_decay"] * _wd_mult(name, config),
            }
            for name, tensor in self._tensors.items()
        ]
        multipliers = [group.pop("lr_mult") for group in groups]
        self._sgd = flow.optim.SGD(groups, lr=self._lr, momentum=config["momentum"])
        self._multipliers = multipliers

    def step(self, gradients: list[flow.Tensor], scale: float) -> None:
        """Update every parameter by its gradient (global, the parameter's SBP) at ``scale`` times the learning rate."""
        for tensor, gradient in zip(self._tensors.values(), gradients, strict=True):
            tensor.grad = local_view(gradient)
        for group, multiplier in zip(self._sgd.param_groups, self._multipliers, strict=True):
            group["lr"] = self._lr * scale * multiplier
        self._sgd.step()
        for tensor in self._tensors.values():
            tensor.grad = None

    def momentum_arrays(self) -> dict[str, np.ndarray]:
        """Return a copy of this rank's momentum buffers by parameter name; zeros before the first step."""
        return {name: self._buffer(tensor).numpy().copy() for name, tensor in self._tensors.items()}

    def load_momentum(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set this rank's momentum buffers; ``arrays`` holds one for every parameter."""
        for name, tensor in self._tensors.items():
            self._buffer(tensor).copy_(flow.tensor(arrays[name], device=tensor.device))

    def _buffer(self, tensor: flow.Tensor) -> flow.Tensor:
        # OneFlow keeps the buffer under this key and makes it on the first step; making it early is the same.
        return self._sgd._state[tensor].setdefault("momentum_buf", flow.zeros_like(tensor))


def _lr_mult(name: str, config: Mapping[str, Any]) -> float:
    return {"fc7_weight": config["fc7_lr_mult"], "fc7_bias": 2.0}.get(name, 1.0)


def _wd_mult(name: str, config: Mapping[str, Any]) -> float:
    if name == "fc7_weight":
        return config["fc7_wd_mult"]
    return 1.0 if name.endswith(("_weight", "_gamma")) else 0.0
