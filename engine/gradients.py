"""What happens to gradients between the graph and the update: added up, unscaled, measured, clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from launch.world import World, local_view
from ops import flow

_BLOCK = 1 << 20  # numbers of a gradient that are squared at a time, in float64
_LARGEST_SCALE = 2.0**24


def add_gradients(total: list[flow.Tensor] | None, more: Sequence[flow.Tensor]) -> list[flow.Tensor]:
    """Add each rank's own parts of ``more`` to ``total``, in place, and return it; None is the empty sum.

    It is done when the call ends: the memory of ``more`` may be used for something else then.
    """
    if total is None:
        total = [gradient.clone() for gradient in more]
    else:
        for own, other in zip(total, more, strict=True):
            local_view(own).add_(local_view(other))
    flow._oneflow_internal.eager.Sync()
    return total


def multiply_gradients(gradients: Sequence[flow.Tensor], factor: float) -> None:
    """Multiply ``gradients`` by ``factor`` in place."""
    if factor != 1:
        for gradient in gradients:
            local_view(gradient).mul_(factor)


def find_norm(gradients: Sequence[flow.Tensor], world: World) -> float:
    """Return the L2 norm of all gradients taken together, over all ranks' shards, the same on every rank.

    What is broadcast counts once. A collective call.
    """
    whole, shards = (
        _square([local_view(g) for g in gradients if (g.sbp[0] == flow.sbp.broadcast) == is_whole])
        for is_whole in (True, False)
    )
    return math.sqrt(whole + float(world.gather(np.array([shards])).sum()))


def _square(tensors: Sequence[flow.Tensor]) -> float:
    sums = []
    for tensor in tensors:
        flat = tensor.reshape(-1)
        for first in range(0, len(flat), _BLOCK):
            sums.append(flat[first : first + _BLOCK].to(flow.float64).square().sum())
    return float(flow.stack(sums).sum().numpy()) if sums else 0.0


class LossScale:
    """What the loss is multiplied by before the backward pass, and the gradients divided by after it.

    A power of two, so that it divides out exactly and float32 results stay as they are, bit for bit, wherever they were
    representable. With a window it is halved by gradients that overflow, which are not applied, and doubled after as
    many good steps as the window has.

    Attributes:
        value: that of the next step.
        good_steps: how many there were since it last changed.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Take ``fp16_scale``, the first value (0 is 1), and ``fp16_scale_window``, 0 for a value that stays."""
        self.value = float(config["fp16_scale"]) or 1.0
        self.window = config["fp16_scale_window"]
        self.good_steps = 0

    def move(self, overflow: bool) -> bool:
        """Go on to the next step; return False if there was an overflow that no smaller scale can help."""
        if overflow and (not self.window or self.value <= 1):
            return False
        if overflow:
            self.value, self.good_steps = self.value / 2, 0
        elif self.window:
            self.good_steps += 1
            if self.good_steps == self.window:
                self.value, self.good_steps = min(_LARGEST_SCALE, self.value * 2), 0
        return True

    def read_state(self) -> dict[str, float]:
        """Return what a resumed run needs."""
        return {"value": self.value, "good_steps": self.good_steps}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go on from what ``read_state`` returned; a value that stays is that of the settings."""
        if self.window and state:
            self.value, self.good_steps = float(state["value"]), int(state["good_steps"])
