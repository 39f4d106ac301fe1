"""Class rows in bfloat16: half the memory, and what is stored is rounded at random, so that small updates count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from common.bfloat16 import BFLOAT16
from ops import flow
from ops.native.bfloat16_rows import NativeBFloat16Rows, RowDraws
from ops.native.rows import NativeRows
from ops.rows.bank import RowBank
from ops.rows.referenced import ReferencedRows, RowReference
from ops.rows.selection import RowSelection
from ops.rows.storage import RowStorage
from ops.update_rules import AdamWRule, MomentumRule

_CHUNK_ROWS = 128  # widened for AdamW at a time


@dataclass(frozen=True)
class RowPlace:
    """Which rows of the whole an array holds, and the seed of their rounding.

    The random bits of a number are a function of seed, step, the row's number among those of all ranks, its column, and
    of what it is (weight, momentum, variance): the same on any number of ranks and in a run that resumes.

    Attributes:
        seed: of the run.
        first_row: number of the first row.
    """

    seed: int
    first_row: int = 0


class BFloat16Array:
    """Rows [N, E] of which the outside sees float32.

    Attributes:
        stored: the numbers themselves, dtype ``BFLOAT16``.
    """

    def __init__(self, shape: tuple[int, int], name: str, place: RowPlace, storage: RowStorage) -> None:
        """Begin with zeros; ``name`` is one of ``ROW_ARRAYS``. Needs the CPU kernels."""
        self.stored = storage.zeros(shape, BFLOAT16)
        self._name = name
        self._place = place
        self._native = NativeBFloat16Rows()

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the rows ``indices``, int64 [K], as float32 [K, E]."""
        rows = np.empty((len(indices), self.stored.shape[1]), np.float32)
        self._native.widen(self.stored, indices, rows)
        return rows

    def write(self, rows: np.ndarray, where: RowSelection = slice(None), step: int = 0) -> None:
        """Set some rows to float32 values, rounded at random unless bfloat16 can hold them.

        ``step`` is the number of an update, from 1; 0 for values that come from elsewhere.
        """
        if isinstance(where, slice):
            where = np.arange(*where.indices(len(self.stored)))
        draws = RowDraws(self._place.seed, step, self._place.first_row)
        self._native.round(np.ascontiguousarray(rows, np.float32), self.stored, where, draws, self._name)


class BFloat16Rows(RowBank):
    """A ``RowBank`` of bfloat16 rows [N, E] and moments in the CPU's memory, which graphs read in place.

    Arithmetic is float32. Rows move by the moments of their step before these are rounded.

    Attributes:
        weight: the rows.
    """

    def __init__(
        self, shape: tuple[int, int], place: RowPlace, storage: RowStorage | None = None, replicated: bool = False
    ) -> None:
        """Begin with zeros; ``replicated`` says that all ranks hold the same rows. Needs the CPU kernels."""
        self._storage = storage or RowStorage()
        self._place = place
        self.weight = BFloat16Array(shape, "weight", place, self._storage)
        self._momentum = BFloat16Array(shape, "momentum", place, self._storage)
        self._variance: BFloat16Array | None = None
        self._native = NativeBFloat16Rows()
        self._reference = RowReference(replicated)

    @override
    def select(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        return self._reference.select(self.weight.stored, indices, slots)

    @override
    def read_ahead(self, indices: np.ndarray) -> None:
        if self._storage.is_mapped:
            for array in (self.weight, self._momentum, self._variance):
                if array is not None:
                    NativeRows().read_ahead(array.stored, indices)

    @override
    def open(self, given: flow.Tensor, slots: int) -> ReferencedRows:
        return self._reference.open(given, slots)

    @override
    def row_gradients(self, returned: flow.Tensor) -> flow.Tensor:
        return self._reference.row_gradients(returned)

    @override
    def update(self, gradients: flow.Tensor, rule: MomentumRule | AdamWRule, step: int = 0) -> None:
        indices = self._reference.indices
        if isinstance(rule, AdamWRule):
            self._update_adamw(indices, gradients, rule, step)
            return
        numbers = (rule.lr, rule.momentum, rule.weight_decay)
        draws = RowDraws(self._place.seed, step, self._place.first_row)
        self._native.update(self.weight.stored, self._momentum.stored, indices, gradients.numpy(), numbers, draws)

    def _update_adamw(self, indices: np.ndarray, gradients: flow.Tensor, rule: AdamWRule, step: int) -> None:
        arrays = (self.weight, self._momentum, self._own_variance())
        for first in range(0, len(indices), _CHUNK_ROWS):
            part = indices[first : first + _CHUNK_ROWS]
            weight, *moments = (flow.from_numpy(array.read(part)) for array in arrays)
            rule.apply(weight, gradients[first : first + len(part)], *moments)
            for array, changed in zip(arrays, (weight, *moments), strict=True):
                array.write(changed.numpy(), part, step)

    @override
    def view_momentum(self) -> np.ndarray:
        return self._momentum.stored

    @override
    def load_momentum(self, array: np.ndarray, where: RowSelection = slice(None)) -> None:
        self._momentum.write(array, where)

    @override
    def view_variance(self) -> np.ndarray:
        return self._own_variance().stored

    @override
    def load_variance(self, array: np.ndarray, where: RowSelection = slice(None)) -> None:
        self._own_variance().write(array, where)

    def _own_variance(self) -> BFloat16Array:
        if self._variance is None:
            shape = self.weight.stored.shape
            self._variance = BFloat16Array(shape, "variance", self._place, self._storage)
        return self._variance
