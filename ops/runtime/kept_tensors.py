"""Copies of tensors, to undo what a step that failed has done to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ops import flow


class KeptTensors:
    """Local tensors, which stay where they are, and their values when they were last kept."""

    def __init__(self, tensors: Sequence[flow.Tensor]) -> None:
        """Take the tensors, all on one device."""
        self._tensors = list(tensors)
        # On a CPU by NumPy: many small arrays are copied at once instead of by one operation each.
        on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
        self._arrays = [tensor.numpy() for tensor in tensors] if on_cpu else []  # which share their memory
        self._kept = [np.empty_like(a) for a in self._arrays] if on_cpu else [flow.zeros_like(t) for t in tensors]

    def keep(self) -> None:
        """Remember the values."""
        self._copy(into=False)

    def restore(self) -> None:
        """Put the remembered values back."""
        self._copy(into=True)

    def _copy(self, into: bool) -> None:
        flow._oneflow_internal.eager.Sync()  # NumPy does not wait for OneFlow
        for live, kept in zip(self._arrays or self._tensors, self._kept, strict=True):
            target, source = (live, kept) if into else (kept, live)
            if self._arrays:
                np.copyto(target, source)
            else:
                target.copy_(source)
