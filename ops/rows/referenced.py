"""Class rows that a graph computes with where they are, without copying rows in or gradients out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops import flow
from ops.native.dispatch import dispatch

_OP = "insightface_row_products"


@dataclass(frozen=True)
class ReferencedRows:
    """The rows of all ranks, inside a graph.

    Attributes:
        reference: float64 [ranks], split(0): the address of each rank's ``ops.native.rows.RowsHandle``. Its gradient is
            a zero that only orders execution: it exists once the row gradients are in the bank's buffer.
        slots: rows of each rank.
    """

    reference: flow.Tensor
    slots: int

    def multiply(self, vectors: flow.Tensor, epsilon: float) -> flow.Tensor:
        """Return the products of ``vectors`` with all rows, float32 [B, ranks * slots], split(1).

        Args:
            vectors: float32 [B, E], broadcast.
            epsilon: if above 0, each row is normalised to x / sqrt(max(sum x^2, epsilon)).

        Columns of slots without a row are 0.
        """
        settings = {"slots": self.slots, "epsilon": float(epsilon)}

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
