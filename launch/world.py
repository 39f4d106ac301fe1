"""The ranks of a run as OneFlow sees them: their numbers, their devices, and collective calls between them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import make_directory
from ops import flow

_PIECE = 1 << 21  # numbers that are summed over the ranks in one call
_SMALL = 1 << 16  # at most so many are joined with others


@dataclass(frozen=True)
class World:
    """One rank's view of all ranks.

    Attributes:
        rank: number of this rank, from 0.
        size: number of ranks.
        device: "cpu" or "cuda".
        placement: the devices of all ranks.
    """

    rank: int
    size: int
    device: str
    placement: flow.placement

    @property
    def local_size(self) -> int:
        """Number of ranks on this machine."""
        return self.size // flow.env.get_node_size()

    def split(self, local: np.ndarray | flow.Tensor, axis: int = 0) -> flow.Tensor:
        """Return the global tensor, split along ``axis``, of which ``local`` is this rank's part.

        The parts of all ranks must have one shape; to save a collective call, it is not checked.
        """
        tensor = flow.from_numpy(local) if isinstance(local, np.ndarray) else local
        return tensor.to_global(self.placement, flow.sbp.split(axis), check_meta=False)

    def gather(self, local: np.ndarray) -> np.ndarray:
        """Return the arrays of all ranks, of one shape, concatenated along the first axis. A collective call."""
        if self.size == 1:
            return local
        # Sent as bytes: for small arrays this takes less than half the time of a tensor.
        send = flow._oneflow_internal.cpu_broadcast
        parts = [send(local.tobytes() if rank == self.rank else None, rank) for rank in range(self.size)]
        arrays = [np.frombuffer(part, local.dtype).reshape(local.shape) for part in parts]
        return np.concatenate(arrays)

    def share(self, array: np.ndarray) -> np.ndarray:
        """Return the first rank's array [N, ...] on every rank, read-only; N may differ before. A collective call."""
        if self.size == 1:
            return array
        # The first byte is there because OneFlow cannot send an empty array.
        sent = flow._oneflow_internal.cpu_broadcast(b"." + array.tobytes() if self.rank == 0 else None, 0)
        return np.frombuffer(sent[1:], array.dtype).reshape(-1, *array.shape[1:])

    def exchange(self, message: bytes) -> list[bytes]:
        """Return the messages of all ranks, in their order. A collective call."""
        if self.size == 1:
            return [message]
        send = flow._oneflow_internal.cpu_broadcast
        # The first byte is there because OneFlow cannot send nothing.
        return [send(b"." + message if rank == self.rank else None, rank)[1:] for rank in range(self.size)]

    def average(self, local: flow.Tensor) -> flow.Tensor:
        """Return the mean over the ranks of a local float tensor, as a local tensor. A collective call."""
        if self.size == 1:
            return local
        total = local.to_global(self.placement, flow.sbp.partial_sum).to_global(sbp=flow.sbp.broadcast)
        return total.to_local() / self.size

    def add_up(self, arrays: Sequence[np.ndarray]) -> None:
        """Replace float32 arrays, of the same shapes on all ranks, by their sums over the ranks. A collective call.

        Works in place, with a buffer of a few megabytes: small arrays are sent together, large ones in pieces.
        """
        if self.size == 1:
            return
        pieces = [flat[i : i + _PIECE] for flat in (a.reshape(-1) for a in arrays) for i in range(0, len(flat), _PIECE)]
        small = [piece for piece in pieces if len(piece) <= _SMALL]
        for piece in pieces:
            if len(piece) > _SMALL:
                flow.comm.all_reduce(flow.from_numpy(piece))
        ends = np.cumsum([len(piece) for piece in small], dtype=np.int64)
        for group in np.split(np.arange(len(small)), np.flatnonzero(np.diff(ends // _PIECE)) + 1):
            if len(group):
                joined = np.concatenate([small[i] for i in group])
                flow.comm.all_reduce(flow.from_numpy(joined))
                flow._oneflow_internal.eager.Sync()
                parts = np.split(joined, np.cumsum([len(small[i]) for i in group])[:-1])
                for i, part in zip(group, parts, strict=True):
                    small[i][:] = part
        flow._oneflow_internal.eager.Sync()

    def barrier(self) -> None:
        """Wait for all ranks. A collective call."""
        if self.size > 1:
            flow.comm.barrier()


def join_world(device: str) -> World:
    """Return this process' view of all ranks; ``device`` is "cpu" or "cuda".

    Raises:
        UserError: LOCAL_RANK differs from what OneFlow expects; the first tensor over several ranks would hang.
    """
    rank, size, machines = flow.env.get_rank(), flow.env.get_world_size(), flow.env.get_node_size()
    expected, given = rank % (size // machines), flow.env.get_local_rank()
    if given != expected:
        raise UserError(
            f"rank {rank} of {size} has LOCAL_RANK {given}; OneFlow, which identifies machines by address, counts "
            f"{machines} machine(s) and expects LOCAL_RANK {expected}; start all ranks of a machine together"
        )
    if device == "cuda":
        flow.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return World(rank, size, device, flow.placement.all(device))


def check_shared(root: Path, world: World) -> None:
    """Check that all ranks see the same folder ``root``, where each writes its class rows. A collective call.

    Raises:
        UserError: a rank does not see a file that the first rank wrote.
    """
    mark = root / ".seen-by-all-ranks"
    if world.rank == 0:
        make_directory(root, "--models_root")
        mark.touch()
    world.barrier()
    seen = mark.exists()
    world.barrier()
    if world.rank == 0:
        mark.unlink()
    if not seen:
        raise UserError(f"rank {world.rank} does not see {root} of rank 0; put --models_root on a shared disk")


def configure_transfers(config: Mapping[str, Any]) -> None:
    """Tell OneFlow how to fuse transfers between GPUs, as the OneFlow port does; 0 keeps OneFlow's own values."""
    if config["device"] != "cuda":
        return
    if config["nccl_fusion_threshold_mb"]:
        flow.boxing.nccl.set_fusion_threshold_mbytes(config["nccl_fusion_threshold_mb"])
    if config["nccl_fusion_max_ops"]:
        flow.boxing.nccl.set_fusion_max_ops_num(config["nccl_fusion_max_ops"])
    if config["use_fp16"]:
        flow.boxing.nccl.enable_use_buffer_to_fuse_all_reduce(False)
