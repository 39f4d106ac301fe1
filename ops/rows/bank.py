"""A parameter of which each step reads and updates some rows, and its moments; all other rows stay as they are.

One small class per kind of device and nothing else that knows about it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ops import flow
from ops.native.rows import NativeRows, RowsHandle
from ops.rows.referenced import ReferencedRows
from ops.rows.storage import RowStorage
from ops.update_rules import AdamWRule, MomentumRule

Where = slice | np.ndarray  # rows: of one step, or int64 numbers

_CHUNK_BYTES = 1 << 18  # of one array; the update's three then fit a core's cache


class RowBank(Protocol):
    """Rows of a local float32 tensor [N, ...], which it shares, and their moments, zeros at first.

    The moments are momentum, and for rules that keep one the variance, which takes room from its first use on.
    """

    def gather(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        """Return what a graph is given of the rows ``indices``, int64, ascending, all different, at most ``slots``.

        A local tensor that begins with the rows, [slots, ...], and goes on with what is finite and stands for nobody;
        or a reference to them. The next call may reuse the memory.
        """

    def open(self, given: flow.Tensor, slots: int) -> flow.Tensor | ReferencedRows:
        """Return, inside a graph, the rows to compute with and to differentiate by ``given``: all ranks' ``gather``."""

    def find_gradients(self, returned: flow.Tensor) -> flow.Tensor:
        """Return the local gradients [slots, ...] of the rows gathered last; valid until a graph is called again.

        Args:
            returned: this rank's part of the gradient by what ``gather`` gave, which the graph returned.
        """

    def update(self, gradients: flow.Tensor, rule: MomentumRule | AdamWRule) -> None:
        """Apply ``rule`` to the rows gathered last, by the first of the local ``gradients`` [slots, ...]."""

    def view_momentum(self) -> np.ndarray:
        """Return the momentum [N, ...] itself, not a copy, where the memory can be read: the next update changes it."""

    def load_momentum(self, array: np.ndarray, where: Where = slice(None)) -> None:
        """Set the momentum of all rows, or of some."""

    def view_variance(self) -> np.ndarray:
        """Return the variance [N, ...] as ``view_momentum`` does the momentum."""

    def load_variance(self, array: np.ndarray, where: Where = slice(None)) -> None:
        """Set the variance of all rows, or of some."""


def set_rows(tensor: flow.Tensor, where: Where, rows: np.ndarray) -> None:
    """Set rows of a local tensor without gradient, on any device."""
    if tensor.device.type == "cpu":
        tensor.numpy()[where] = rows  # shared memory; waits for whatever OneFlow is still writing there
        return
    if isinstance(where, np.ndarray):
        where = flow.tensor(where, device=tensor.device)
    tensor[where] = flow.tensor(rows, device=tensor.device)


def make_row_bank(tensor: flow.Tensor, storage: RowStorage | None = None, in_place: bool = True) -> RowBank:
    """Return the bank of a local tensor without gradient, on its device.

    ``storage`` is where a CPU keeps the moments, in memory unless it is given. Without ``in_place`` graphs are given
    the rows themselves, wherever that is.
    """
    storage = storage or RowStorage()
    if tensor.device.type != "cpu":
        return DeviceRows(tensor)
    if not NativeRows.available():
        return HostRows(tensor, None, storage)
    kind = RowsInPlace if in_place and tensor.ndim == 2 else HostRows
    return kind(tensor, NativeRows(), storage)


class HostRows:
    """A ``RowBank`` in the CPU's memory: the kernels, or numpy without them, on the memory of the OneFlow tensors."""

    def __init__(self, tensor: flow.Tensor, native: NativeRows | None, storage: RowStorage) -> None:
        self._tensor = tensor
        self._storage = storage
        self._momentum = storage.zeros(tuple(tensor.shape))
        self._variance: np.ndarray | None = None
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
        take = self._native.select if self._native else _take
        take(self._rows, indices, self._gathered.numpy()[: len(indices)])
        return self._gathered

    def open(self, given: flow.Tensor, slots: int) -> flow.Tensor:
        """See ``RowBank``."""
        return given.requires_grad_()

    def find_gradients(self, returned: flow.Tensor) -> flow.Tensor:
        """See ``RowBank``."""
        return returned

    def update(self, gradients: flow.Tensor, rule: MomentumRule | AdamWRule) -> None:
        """See ``RowBank``."""
        if isinstance(rule, AdamWRule):
            self._update_adamw(gradients, rule)
            return
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

    def _update_adamw(self, gradients: flow.Tensor, rule: AdamWRule) -> None:
        stores = (self._rows, self._momentum, self.view_variance())
        chunk = max(1, _CHUNK_BYTES // stores[0][:1].nbytes)
        for first in range(0, len(self._indices), chunk):
            indices = self._indices[first : first + chunk]
            weight, *moments = (flow.from_numpy(store[indices]) for store in stores)
            rule.apply(weight, gradients[first : first + len(indices)], *moments)
            for store, changed in zip(stores, (weight, *moments), strict=True):
                store[indices] = changed.numpy()

    def view_momentum(self) -> np.ndarray:
        """See ``RowBank``."""
        return self._momentum

    def load_momentum(self, array: np.ndarray, where: Where = slice(None)) -> None:
        """See ``RowBank``."""
        self._momentum[where] = array

    def view_variance(self) -> np.ndarray:
        """See ``RowBank``."""
        if self._variance is None:
            self._variance = self._storage.zeros(tuple(self._tensor.shape))
        return self._variance

    def load_variance(self, array: np.ndarray, where: Where = slice(None)) -> None:
        """See ``RowBank``."""
        self.view_variance()[where] = array


class RowsInPlace(HostRows):
    """A ``RowBank`` of rows of float32 [N, E] in the CPU's memory, for graphs that compute with them in place."""

    def __init__(self, tensor: flow.Tensor, native: NativeRows, storage: RowStorage) -> None:
        super().__init__(tensor, native, storage)
        self._handle = RowsHandle()
        self._reference = flow.tensor([self._handle.address], dtype=flow.float64)
        self._gradients = flow.zeros(0)

    def gather(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        """See ``RowBank``: the reference to the rows, float64 [1]."""
        if len(self._gradients) != slots:
            self._gradients = flow.zeros(slots, *self._tensor.shape[1:])
        self._indices = indices
        self._handle.set(self._rows, indices, self._gradients.numpy())
        return self._reference

    def open(self, given: flow.Tensor, slots: int) -> ReferencedRows:
        """See ``RowBank``."""
        return ReferencedRows(given.requires_grad_(), slots)

    def find_gradients(self, returned: flow.Tensor) -> flow.Tensor:
        """See ``RowBank``."""
        returned.numpy()  # waits for the graph
        self._gradients.numpy()[len(self._indices) :] = 0  # the graph left them; norms are over all slots
        return self._gradients


def _take(rows: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    np.take(rows, indices, axis=0, out=out, mode="clip")  # the mode that does not go through a buffer of its own


class DeviceRows:
    """A ``RowBank`` on any device: OneFlow's ops, which write in place."""

    def __init__(self, tensor: flow.Tensor) -> None:
        self._rows = tensor
        self._momentum = flow.zeros_like(tensor)
        self._variance: flow.Tensor | None = None
        self._indices = flow.zeros(0, dtype=flow.int64, device=tensor.device)

    def gather(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        """See ``RowBank``."""
        self._indices = flow.tensor(indices, device=self._rows.device)
        gathered = flow.zeros(slots, *self._rows.shape[1:], device=self._rows.device)
        if len(indices):
            gathered[: len(indices)] = self._select(self._rows)
        return gathered

    def open(self, given: flow.Tensor, slots: int) -> flow.Tensor:
        """See ``RowBank``."""
        return given.requires_grad_()

    def find_gradients(self, returned: flow.Tensor) -> flow.Tensor:
        """See ``RowBank``."""
        return returned

    def update(self, gradients: flow.Tensor, rule: MomentumRule | AdamWRule) -> None:
        """See ``RowBank``."""
        count = len(self._indices)
        if not count:
            return
        weight = self._select(self._rows)
        if isinstance(rule, AdamWRule):
            stores = (self._momentum, self._find_variance())
            moments = [self._select(store) for store in stores]
            rule.apply(weight, gradients[:count], *moments)
            for store, changed in zip((self._rows, *stores), (weight, *moments), strict=True):
                store[self._indices] = changed
            return
        buffer = self._select(self._momentum) * rule.momentum + (gradients[:count] + weight * rule.weight_decay)
        self._momentum[self._indices] = buffer
        self._rows[self._indices] = weight - buffer * rule.lr

    def _select(self, tensor: flow.Tensor) -> flow.Tensor:
        return flow._C.gather(tensor, self._indices, axis=0)

    def view_momentum(self) -> np.ndarray:
        """See ``RowBank``."""
        return self._momentum.numpy()

    def load_momentum(self, array: np.ndarray, where: Where = slice(None)) -> None:
        """See ``RowBank``."""
        set_rows(self._momentum, where, array)

    def view_variance(self) -> np.ndarray:
        """See ``RowBank``."""
        return self._find_variance().numpy()

    def load_variance(self, array: np.ndarray, where: Where = slice(None)) -> None:
        """See ``RowBank``."""
        set_rows(self._find_variance(), where, array)

    def _find_variance(self) -> flow.Tensor:
        if self._variance is None:
            self._variance = flow.zeros_like(self._rows)
        return self._variance
