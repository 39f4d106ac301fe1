"""Row banks in the CPU's memory."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from ops import flow
from ops.native.rows import NativeRows
from ops.rows.bank import RowBank
from ops.rows.referenced import ReferencedRows, RowReference
from ops.rows.selection import RowSelection
from ops.rows.storage import RowStorage
from ops.update_rules import AdamWRule, MomentumRule

_CHUNK_BYTES = 1 << 18  # of one array; the update's three then fit a core's cache


class HostRows(RowBank):
    """A ``RowBank`` in the CPU's memory, computed by the kernels, or by numpy without them.

    Arrays share the memory of the OneFlow tensors.
    """

    def __init__(self, tensor: flow.Tensor, native: NativeRows | None, storage: RowStorage) -> None:
        self._tensor = tensor
        self._storage = storage
        self._momentum = storage.zeros(tuple(tensor.shape))
        self._variance: np.ndarray | None = None
        self._indices = np.zeros(0, np.int64)
        self._selected = flow.zeros(0)
        self._native = native
        self._shared = tensor.numpy()  # the memory of the rows

    @property
    def _rows(self) -> np.ndarray:
        return self._tensor.numpy()  # shared memory; waits for OneFlow's pending writes

    @override
    def select(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        if len(self._selected) != slots:
            self._selected = flow.zeros(slots, *self._tensor.shape[1:])
        self._indices = indices
        copy_rows = self._native.select if self._native else _copy_rows
        copy_rows(self._rows, indices, self._selected.numpy()[: len(indices)])
        return self._selected

    @override
    def read_ahead(self, indices: np.ndarray) -> None:
        if self._native and self._storage.is_mapped:
            for array in (self._shared, self._momentum, self._variance):
                if array is not None:
                    self._native.read_ahead(array, indices)

    @override
    def update(self, gradients: flow.Tensor, rule: MomentumRule | AdamWRule, step: int = 0) -> None:
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
            _copy_rows(rows, indices, weight)
            _copy_rows(self._momentum, indices, buffer)
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

    @override
    def view_momentum(self) -> np.ndarray:
        return self._momentum

    @override
    def load_momentum(self, array: np.ndarray, where: RowSelection = slice(None)) -> None:
        self._momentum[where] = array

    @override
    def view_variance(self) -> np.ndarray:
        if self._variance is None:
            self._variance = self._storage.zeros(tuple(self._tensor.shape))
        return self._variance

    @override
    def load_variance(self, array: np.ndarray, where: RowSelection = slice(None)) -> None:
        self.view_variance()[where] = array


class ReferencedHostRows(HostRows):
    """A ``RowBank`` of float32 rows [N, E] in the CPU's memory that graphs read where they are, by a ``RowsHandle``."""

    def __init__(self, tensor: flow.Tensor, native: NativeRows, storage: RowStorage) -> None:
        super().__init__(tensor, native, storage)
        self._reference = RowReference()

    @override
    def select(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        self._indices = indices
        return self._reference.select(self._rows, indices, slots)

    @override
    def open(self, given: flow.Tensor, slots: int) -> ReferencedRows:
        return self._reference.open(given, slots)

    @override
    def row_gradients(self, returned: flow.Tensor) -> flow.Tensor:
        return self._reference.row_gradients(returned)


def _copy_rows(rows: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    np.take(rows, indices, axis=0, out=out, mode="clip")  # the only mode that copies without a temporary buffer
