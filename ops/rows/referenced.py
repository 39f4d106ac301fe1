"""Class rows that a graph computes with where they are, without copying rows in or gradients out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ops import flow
from ops.native.dispatch import dispatch
from ops.native.rows import RowsHandle

_OP = "insightface_row_products"


@dataclass(frozen=True)
class ReferencedRows:
    """The rows of all ranks, inside a graph.

    Attributes:
        reference: float64 [ranks], split(0): the address of each rank's ``ops.native.rows.RowsHandle``. Its gradient is
            a zero that only orders execution: it exists once the row gradients are in the bank's buffer. One that does
            not require a gradient is of rows that never change.
        slots: rows of each rank.
        replicated: all ranks hold the same rows.
    """

    reference: flow.Tensor
    slots: int
    replicated: bool = False

    def multiply(self, vectors: flow.Tensor, epsilon: float) -> flow.Tensor:
        """Return the products of ``vectors`` with all rows, float32 [B, ranks * slots], split(1).

        If rows are replicated, vectors are split(0), and so are the products [B, slots].

        Args:
            vectors: float32 [B, E], broadcast.
            epsilon: if above 0, each row is normalised to x / sqrt(max(sum x^2, epsilon)).

        Columns of slots without a row are 0. There is no gradient where neither vectors nor reference require one.
        """
        settings = {"slots": self.slots, "epsilon": float(epsilon), "replicated": self.replicated}

        class Products(flow.autograd.Function):
            @staticmethod
            def forward(ctx: Any, vectors: flow.Tensor, rows: flow.Tensor) -> flow.Tensor:
                ctx.save_for_backward(vectors, rows)
                return dispatch(_OP, settings, {"vectors": [vectors], "rows": [rows]}, {"products": 1})[0]

            @staticmethod
            def backward(ctx: Any, gradients: flow.Tensor) -> tuple[flow.Tensor, ...]:
                vectors, rows = ctx.saved_tensors
                inputs = {"product_gradients": [gradients], "vectors": [vectors], "rows": [rows]}
                return dispatch(f"{_OP}_grad", settings, inputs, {"vector_gradients": 1, "rows_done": 1})

        return Products.apply(vectors, self.reference)


class RowReference:
    """A reference that a graph is given in the place of selected rows, and the memory of their gradients.

    Attributes:
        indices: the selected rows.
    """

    def __init__(self, replicated: bool = False) -> None:
        """``replicated``: all ranks hold the same rows."""
        self.indices = np.zeros(0, np.int64)
        self._replicated = replicated
        self._handle = RowsHandle()
        self._reference = flow.tensor([self._handle.address], dtype=flow.float64)
        self._gradients = flow.zeros(0)

    def select(self, rows: np.ndarray, indices: np.ndarray, slots: int) -> flow.Tensor:
        """Refer to the rows ``indices`` of ``rows`` [N, E]; see ``RowBank.select``."""
        if len(self._gradients) != slots:
            self._gradients = flow.zeros(slots, *rows.shape[1:])
        self.indices = indices
        self._handle.set(rows, indices, self._gradients.numpy())
        return self._reference

    def open(self, given: flow.Tensor, slots: int) -> ReferencedRows:
        """Return the rows inside a graph; see ``RowBank.open``."""
        return ReferencedRows(given.requires_grad_(), slots, self._replicated)

    def row_gradients(self, returned: flow.Tensor) -> flow.Tensor:
        """Return the local gradients; see ``RowBank.row_gradients``."""
        returned.numpy()  # waits for the graph
        self._gradients.numpy()[len(self.indices) :] = 0  # the graph does not write them; norms are over all slots
        return self._gradients
