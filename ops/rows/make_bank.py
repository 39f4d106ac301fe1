"""Choose the row bank of a tensor by the kind of its memory."""

from __future__ import annotations

from ops import flow
from ops.native.rows import NativeRows
from ops.rows.bank import RowBank
from ops.rows.device_bank import DeviceRows
from ops.rows.host_bank import HostRows, ReferencedHostRows
from ops.rows.storage import RowStorage


def make_row_bank(tensor: flow.Tensor, storage: RowStorage | None = None, referenced: bool = True) -> RowBank:
    """Return the bank of a local tensor without gradient, on its device.

    Args:
        tensor: float32 [N, ...].
        storage: holds the moments on a CPU; by default they are in memory.
        referenced: allow graphs to read rows of a CPU where they are; otherwise graphs are given copies of the rows.
    """
    storage = storage or RowStorage()
    if tensor.device.type != "cpu":
        return DeviceRows(tensor)
    if not NativeRows.available():
        return HostRows(tensor, None, storage)
    kind = ReferencedHostRows if referenced and tensor.ndim == 2 else HostRows
    return kind(tensor, NativeRows(), storage)
