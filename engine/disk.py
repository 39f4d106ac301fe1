"""Compare what a training writes with the free disk space, before it starts."""

from __future__ import annotations

import os
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


def _existing(folder: Path) -> Path:
    """Return ``folder``, or the nearest folder above it that exists."""
    return next(path for path in (folder, *folder.resolve().parents) if path.is_dir())


def _disk(folder: Path) -> int:
    """Return the number of the disk of ``folder``, which need not exist yet."""
    return os.stat(_existing(folder)).st_dev


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk of ``folder``, which need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


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


def check_snapshots(
    config: Mapping[str, Any],
    plan: Plan,
    start: int,
    estimate: MemoryEstimate,
    mapped: int = 0,
    storage: Path | None = None,
) -> str:
    """Return a warning if the disk has no room for all snapshots of a run from step ``start`` on, else an empty text.

    ``mapped`` bytes of class rows will lie in files in ``storage``; they count if that is on the same disk.

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
    beside, where = "", "--models_root"
    if storage is not None and _disk(storage) == _disk(folder):
        beside, where = f" beside {sized(mapped)} of mapped class rows", "--models_root or --fc7_storage_dir"
        left = max(0, free - mapped)
    else:
        left = free
    if left < size:
        raise UserError(
            f"a snapshot takes {sized(size)}{beside} and {sized(free)} are free in {folder}; make room, or name a "
            f"folder on another disk with {where}"
        )
    if left >= planned * size:
        return ""
    return (
        f"warning: {planned} snapshots of {sized(size)}{beside} are planned and {sized(free)} are free in {folder}, "
        f"enough for {left // size}; make room, raise --iter_num_in_snapshot, or keep the best alone with --ckpt 3"
    )
