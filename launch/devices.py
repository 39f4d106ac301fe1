"""Which devices a run computes on, and whether this process is one of its ranks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any

from common.errors import UserError


def is_rank() -> bool:
    """Tell whether a launcher (this one or oneflow.distributed.launch) started this process as a rank."""
    # Importing OneFlow outside a launcher sets RANK to -1.
    return int(os.environ.get("RANK", "-1")) >= 0


def world_size() -> int:
    """Return the number of ranks that the launcher of this rank has started on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def choose_device(config: Mapping[str, Any]) -> tuple[str, int]:
    """Return ("cpu" or "cuda", ranks on this node) for the config's ``device`` and ``device_num_per_node``.

    Raises:
        UserError: CUDA was asked for and there are not enough GPUs.
    """
    wanted = config["device_num_per_node"]
    gpus = 0 if config["device"] == "cpu" else _count_gpus()
    if config["device"] == "cpu" or (config["device"] == "auto" and gpus == 0):
        return "cpu", wanted or 1
    if gpus < max(wanted, 1):
        raise UserError(f"{max(wanted, 1)} rank(s) per node asked for, {gpus} GPU(s) visible; --device cpu needs none")
    return "cuda", wanted or gpus


def _count_gpus() -> int:
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    present = sum(line.startswith("GPU ") for line in listing.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return present if visible is None else min(present, len([item for item in visible.split(",") if item.strip()]))
