"""Where a run keeps its things."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError

if TYPE_CHECKING:
    from launch.world import World


def run_directory(config: Mapping[str, Any], root: str) -> Path:
    """Return ``root``/network-loss-dataset, with ``extra_model_name`` behind it if there is one."""
    names = [config[key] for key in ("network", "loss", "dataset", "extra_model_name")]
    return Path(root) / "-".join(name for name in names if name)


def find_storage(config: Mapping[str, Any]) -> Path | None:
    """Return the folder of the files that hold class rows and momentum, None if they are in memory."""
    if config["fc7_storage"] == "memory":
        return None
    return Path(config["fc7_storage_dir"] or run_directory(config, config["models_root"]))


def check_shared(root: Path, world: World) -> None:
    """Check that all ranks see one and the same ``root``, since each writes its class rows there. A collective call.

    Raises:
        UserError: a rank does not see what the first one wrote.
    """
    mark = root / ".seen-by-all-ranks"
    if world.rank == 0:
        root.mkdir(parents=True, exist_ok=True)
        mark.touch()
    world.barrier()
    seen = mark.exists()
    world.barrier()
    if world.rank == 0:
        mark.unlink()
    if not seen:
        raise UserError(f"rank {world.rank} does not see {root} of rank 0; --models_root must be on a shared disk")
