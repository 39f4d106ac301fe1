"""Class rows that a graph computes with where they are: no copy of them goes in, and no gradient tensor comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops import flow
from ops.native.dispatch import dispatch

_OP = "insightface_row_products"


@dataclass(frozen=True)
class ReferencedRows:
    """In a graph, each rank's rows by their ``reference``: float64 [ranks], split(0), the addresses of their choices.

    Its gradient, zeros, comes when the rows' own gradients are where their bank looks for them
    (``ops.rows.bank.RowsInPlace``).
    """

    reference: flow.Tensor
    slots: int

    def multiply(self, vectors: flow.Tensor, epsilon: float) -> flow.Tensor:
        """Return the products [B, ranks * slots], split(1), of ``vectors`` [B, E], broadcast, with all rows.

        Columns of slots without a row are 0. With an ``epsilon`` above 0 rows count as x / sqrt(max(sum x^2, epsilon)).
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
