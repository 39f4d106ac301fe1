"""Compare what a training writes with the free disk space, before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.wording import sized
from engine.memory import MemoryEstimate
from engine.schedule import Plan
from settings.choices import ALL_SNAPSHOTS, NO_SNAPSHOTS
from settings.places import run_directory


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk of ``folder``, which need not exist yet."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def check_disk(estimate: MemoryEstimate, local_ranks: int, folder: Path) -> None:
    """Check that the mapped files of ``local_ranks`` ranks fit the disk of ``folder``, which need not exist yet.

    Raises:
        UserError: the files do not fit the disk.
    """
    free, needed = free_space(folder), estimate.in_files * local_ranks
    if needed > free:
        raise UserError(
            f"--fc7_storage mmap needs {sized(needed)} in {folder} for {local_ranks} rank(s) here, "
            f"{sized(free)} are free; name a folder on another disk with --fc7_storage_dir"
        )


def check_snapshots(config: Mapping[str, Any], plan: Plan, start: int, estimate: MemoryEstimate) -> str:
    """Return a warning if the disk has no room for all snapshots of a run from step ``start`` on, else an empty text.

    Raises:
        UserError: there is no room for one snapshot.
    """
    if config["ckpt"] == NO_SNAPSHOTS or plan.total_steps <= start:
        return ""
    folder = run_directory(config, config["models_root"])
    free, size, planned = free_space(folder), estimate.snapshot, 1
    if config["ckpt"] == ALL_SNAPSHOTS:
        planned = sum(map(plan.is_snapshot, range(start + 1, plan.total_steps)))
        planned += bool(config["save_last_snapshot"] or plan.is_snapshot(plan.total_steps))
    if not planned:
        return ""
    if free < size:
        raise UserError(
            f"a snapshot takes {sized(size)} and {sized(free)} are free in {folder}; make room, or name a "
            "folder on another disk with --models_root"
        )
    if free >= planned * size:
        return ""
    return (
        f"warning: {planned} snapshots of {sized(size)} are planned and {sized(free)} are free in {folder}, "
        f"enough for {free // size}; make room, raise --iter_num_in_snapshot, or keep the best alone with --ckpt 3"
    )
