"""Row banks on any device, by OneFlow's operators."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from ops import flow
from ops.rows.bank import RowBank
from ops.rows.selection import RowSelection, set_rows
from ops.update_rules import AdamWRule, MomentumRule


class DeviceRows(RowBank):
    """A ``RowBank`` on any device: OneFlow's ops, which write in place."""

    def __init__(self, tensor: flow.Tensor) -> None:
        self._rows = tensor
        self._momentum = flow.zeros_like(tensor)
        self._variance: flow.Tensor | None = None
        self._indices = flow.zeros(0, dtype=flow.int64, device=tensor.device)

    @override
    def select(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        self._indices = flow.tensor(indices, device=self._rows.device)
        selected = flow.zeros(slots, *self._rows.shape[1:], device=self._rows.device)
        if len(indices):
            selected[: len(indices)] = self._rows_of(self._rows)
        return selected

    @override
    def update(self, gradients: flow.Tensor, rule: MomentumRule | AdamWRule, step: int = 0) -> None:
        count = len(self._indices)
        if not count:
            return
        weight = self._rows_of(self._rows)
        if isinstance(rule, AdamWRule):
            stores = (self._momentum, self._own_variance())
            moments = [self._rows_of(store) for store in stores]
            rule.apply(weight, gradients[:count], *moments)
            for store, changed in zip((self._rows, *stores), (weight, *moments), strict=True):
                store[self._indices] = changed
            return
        buffer = self._rows_of(self._momentum) * rule.momentum + (gradients[:count] + weight * rule.weight_decay)
        self._momentum[self._indices] = buffer
        self._rows[self._indices] = weight - buffer * rule.lr

    def _rows_of(self, tensor: flow.Tensor) -> flow.Tensor:
        return flow._C.gather(tensor, self._indices, axis=0)

    @override
    def view_momentum(self) -> np.ndarray:
        return self._momentum.numpy()

    @override
    def load_momentum(self, array: np.ndarray, where: RowSelection = slice(None)) -> None:
        set_rows(self._momentum, where, array)

    @override
    def view_variance(self) -> np.ndarray:
        return self._own_variance().numpy()

    @override
    def load_variance(self, array: np.ndarray, where: RowSelection = slice(None)) -> None:
        set_rows(self._own_variance(), where, array)

    def _own_variance(self) -> flow.Tensor:
        if self._variance is None:
            self._variance = flow.zeros_like(self._rows)
        return self._variance
