"""A parameter of which each step reads and updates some rows, and its moments; all other rows keep their values.

Implementations: ``ops.rows.host_bank`` (CPU), ``ops.rows.device_bank`` (any device) and ``ops.rows.bfloat16_rows``
(half the memory, CPU).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ops import flow
from ops.rows.referenced import ReferencedRows
from ops.rows.selection import RowSelection
from ops.update_rules import AdamWRule, MomentumRule


class RowBank(Protocol):
    """Rows [N, ...] and their moments, zeros at first; float32 ones are those of a local tensor, which it shares.

    The moments are momentum and, for rules that keep one, the variance, which takes memory from its first use on.
    """

    def select(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        """Select the rows of a step; return the tensor that a graph is given in their place.

        Either a local tensor [slots, ...]: the selected rows, then finite filler for unused slots. Or a ``RowsHandle``,
        float64 [1]. The next call may reuse the memory.

        Args:
            indices: int64 numbers of the rows, ascending, all different, at most ``slots``.
            slots: the number of rows that the graph was compiled for.
        """

    def read_ahead(self, indices: np.ndarray) -> None:
        """Begin to read rows that the next step probably selects, if they are in mapped files. Any thread may call it.

        ``indices`` are int64, ascending. By default it does nothing.
        """

    def open(self, given: flow.Tensor, slots: int) -> flow.Tensor | ReferencedRows:
        """Return, inside a graph, the rows to compute with: by default the tensor that was given.

        Args:
            given: what ``select`` returned on all ranks, as a global tensor: the graph differentiates by it.
            slots: rows of each rank.
        """
        return given.requires_grad_()

    def row_gradients(self, returned: flow.Tensor) -> flow.Tensor:
        """Return the local gradients [slots, ...] of the selected rows; valid until a graph is called again.

        Args:
            returned: this rank's part of the gradient by what ``select`` returned; by default it is the result.
        """
        return returned

    def update(self, gradients: flow.Tensor, rule: MomentumRule | AdamWRule, step: int = 0) -> None:
        """Apply ``rule`` to the selected rows, by the first of the local ``gradients`` [slots, ...].

        ``step`` is the number of the update, from 1, which the random rounding of bfloat16 rows depends on.
        """

    def view_momentum(self) -> np.ndarray:
        """Return the momentum [N, ...] itself, not a copy, where the memory can be read: the next update changes it.

        It has the type of the rows: float32, or ``common.bfloat16.BFLOAT16``.
        """

    def load_momentum(self, array: np.ndarray, where: RowSelection = slice(None)) -> None:
        """Set the momentum of all rows, or of some, to float32 values."""

    def view_variance(self) -> np.ndarray:
        """Return the variance [N, ...] as ``view_momentum`` does the momentum."""

    def load_variance(self, array: np.ndarray, where: RowSelection = slice(None)) -> None:
        """Set the variance of all rows, or of some, to float32 values."""
