"""Rows that a graph computes with and never changes: the class rows of a teacher, of which a step selects some."""

from __future__ import annotations

import numpy as np

from ops import flow
from ops.native.rows import NativeRows, RowsHandle
from ops.rows.referenced import ReferencedRows


class ConstantRows:
    """Float32 rows [N, E] in the memory of a device: where graphs can, they read those of a CPU in place.

    ``select``, ``read_ahead`` and ``open`` are those of a ``RowBank``; what ``open`` returns has no gradient.
    """

    def __init__(self, rows: np.ndarray, device: str, replicated: bool = False) -> None:
        """Keep ``rows``, on a CPU themselves.

        Args:
            rows: contiguous.
            device: "cpu" or "cuda".
            replicated: all ranks hold the same rows.
        """
        self._replicated = replicated
        self._rows = rows
        self._on_device = None if device == "cpu" else flow.tensor(rows, device=device)
        self._native = NativeRows() if device == "cpu" and NativeRows.available() else None
        self._handle = RowsHandle() if self._native is not None else None
        self._reference = flow.tensor([0.0 if self._handle is None else self._handle.address], dtype=flow.float64)
        self._selected = flow.zeros(0)

    def select(self, indices: np.ndarray, slots: int) -> flow.Tensor:
        """Select the rows of a step; return the tensor that a graph is given in their place.

        Args:
            indices: int64 numbers of the rows, ascending, all different, at most ``slots``.
            slots: the number of rows that the graph was compiled for.
        """
        if self._handle is not None:
            self._handle.set(self._rows, indices, None)
            return self._reference
        if self._on_device is not None:
            selected = flow.zeros(slots, self._rows.shape[1], device=self._on_device.device)
            if len(indices):
                numbers = flow.tensor(indices, device=self._on_device.device)
                selected[: len(indices)] = flow._C.gather(self._on_device, numbers, axis=0)
            return selected
        if len(self._selected) != slots:
            self._selected = flow.zeros(slots, self._rows.shape[1])
        np.take(self._rows, indices, axis=0, out=self._selected.numpy()[: len(indices)], mode="clip")
        return self._selected

    def read_ahead(self, indices: np.ndarray) -> None:
        """Begin to read rows that the next step probably selects, if they are in a mapped file."""
        if self._native is not None:
            self._native.read_ahead(self._rows, indices)

    def open(self, given: flow.Tensor, slots: int) -> flow.Tensor | ReferencedRows:
        """Return, inside a graph, the rows to compute with.

        Args:
            given: what ``select`` returned on all ranks, as a global tensor.
            slots: rows of each rank.
        """
        return given if self._handle is None else ReferencedRows(given, slots, self._replicated)
