"""Rows of an array by number, and setting them on any device."""

from __future__ import annotations

import numpy as np

from ops import flow

RowSelection = slice | np.ndarray  # consecutive rows, or int64 row numbers


def set_rows(tensor: flow.Tensor, where: RowSelection, rows: np.ndarray) -> None:
    """Set rows of a local tensor without gradient, on any device."""
    if tensor.device.type == "cpu":
        tensor.numpy()[where] = rows  # shared memory; waits for OneFlow's pending writes
        return
    if isinstance(where, np.ndarray):
        where = flow.tensor(where, device=tensor.device)
    tensor[where] = flow.tensor(rows, device=tensor.device)
