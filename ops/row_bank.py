"""A parameter of which each step reads and updates some rows, and its momentum; all other rows stay as they are.

One small class per kind of device and nothing else that knows about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ops import flow
from ops.native.rows import NativeRows

_CHUNK_BYTES = 1 << 18  # of one array; the update's three then fit a core's cache


@dataclass(frozen=True)
class MomentumRule:
    """buffer = momentum * buffer + (gradient + weight_decay * w); w -= lr * buffer: OneFlow's SGD, bit for bit."""

    lr: float
    momentum: float
    weight_decay: float


class RowBank(Protocol):
    """Rows of a local float32 tensor [N, ...], which it shares, and their momentum, zeros at first."""

    def gather(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        """Return a local tensor [slots, ...] that begins with the rows ``indices``, int64, ascending, all different.

        What follows them is finite and stands for nobody. The next call may reuse the memory.
        """

    def update(self, gradients: flow.Tensor, rule: MomentumRule) -> None:
        """Apply ``rule`` to the rows gathered last, by the first of the local ``gradients`` [slots, ...]."""

    def read_momentum(self) -> np.ndarray:
        """Return a copy of the momentum [N, ...]."""

    def load_momentum(self, array: np.ndarray) -> None:
        """Set the momentum of all rows."""


def make_row_bank(tensor: flow.Tensor) -> RowBank:
    """Return the bank of a local tensor without gradient, on its device."""
    if tensor.device.type == "cpu":
        return HostRows(tensor, NativeRows() if NativeRows.available() else None)
    return DeviceRows(tensor)


class HostRows:
    """A ``RowBank`` in the CPU's memory: the kernels, or numpy without them, on the memory of the OneFlow tensors."""

    def __init__(self, tensor: flow.Tensor, native: NativeRows | None) -> None:
        self._tensor = tensor
        self._momentum = np.zeros(tuple(tensor.shape), np.float32)  # pages that no step has touched take no memory
        self._indices = np.zeros(0, np.int64)
        self._gathered = flow.zeros(0)
        self._native = native

    @property
    def _rows(self) -> np.ndarray:
        return self._tensor.numpy()  # shared memory; waits for whatever OneFlow is still writing there

    def gather(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        """See ``RowBank``."""
        if len(self._gathered) != slots:
            self._gathered = flow.zeros(slots, *self._tensor.shape[1:])
        self._indices = indices
        take = self._native.take if self._native else _take
        take(self._rows, indices, self._gathered.numpy()[: len(indices)])
        return self._gathered

    def update(self, gradients: flow.Tensor, rule: MomentumRule) -> None:
        """See ``RowBank``."""
        gradients, rows = gradients.numpy(), self._rows
        if self._native:
            numbers = (rule.lr, rule.momentum, rule.weight_decay)
            self._native.update(rows, self._momentum, self._indices, gradients, numbers)
            return
        lr, momentum, decay = np.array([rule.lr, rule.momentum, rule.weight_decay], np.float32)
        chunk = max(1, _CHUNK_BYTES // rows[:1].nbytes)
        scratch = np.empty((3, chunk, *rows.shape[1:]), np.float32)
        for first in range(0, len(self._indices), chunk):
            indices = self._indices[first : first + chunk]
            weight, buffer, change = scratch[:, : len(indices)]
            _take(rows, indices, weight)
            _take(self._momentum, indices, buffer)
            np.multiply(weight, decay, out=change)
            change += gradients[first : first + len(indices)]
            buffer *= momentum
            buffer += change
            self._momentum[indices] = buffer
            buffer *= lr
            weight -= buffer
            rows[indices] = weight

    def read_momentum(self) -> np.ndarray:
        """See ``RowBank``."""
        return self._momentum.copy()

    def load_momentum(self, array: np.ndarray) -> None:
        """See ``RowBank``."""
        self._momentum[:] = array


def _take(rows: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    np.take(rows, indices, axis=0, out=out, mode="clip")  # the mode that does not go through a buffer of its own


class DeviceRows:
    """A ``RowBank`` on any device: OneFlow's ops, which write in place."""

    def __init__(self, tensor: flow.Tensor) -> None:
        self._rows = tensor
        self._momentum = flow.zeros_like(tensor)
        self._indices = flow.zeros(0, dtype=flow.int64, device=tensor.device)

    def gather(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        """See ``RowBank``."""
        self._indices = flow.tensor(indices, device=self._rows.device)
        gathered = flow.zeros(slots, *self._rows.shape[1:], device=self._rows.device)
        if len(indices):
            gathered[: len(indices)] = self._select(self._rows)
        return gathered

    def update(self, gradients: flow.Tensor, rule: MomentumRule) -> None:
        """See ``RowBank``."""
        count = len(self._indices)
        if not count:
            return
        weight = self._select(self._rows)
        buffer = self._select(self._momentum) * rule.momentum + (gradients[:count] + weight * rule.weight_decay)
        self._momentum[self._indices] = buffer
        self._rows[self._indices] = weight - buffer * rule.lr

    def _select(self, tensor: flow.Tensor) -> flow.Tensor:
        return flow._C.gather(tensor, self._indices, axis=0)

    def read_momentum(self) -> np.ndarray:
        """See ``RowBank``."""
        return self._momentum.numpy().copy()

    def load_momentum(self, array: np.ndarray) -> None:
        """See ``RowBank``."""
        self._momentum.copy_(flow.tensor(array, device=self._momentum.device))
