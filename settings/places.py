"""The folders of a run: its snapshots, logs, class rows and verification sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError, nearest
from settings.verification_places import list_sets


def run_directory(config: Mapping[str, Any], root: str) -> Path:
    """Return ``root``/network-loss-dataset, followed by ``extra_model_name`` if it is set."""
    names = [config[key] for key in ("network", "loss", "dataset", "extra_model_name")]
    return Path(root) / "-".join(name for name in names if name)


def storage_directory(config: Mapping[str, Any]) -> Path | None:
    """Return the folder of the mapped files of class rows and momentum; None if they are in memory."""
    if config["fc7_storage"] == "memory":
        return None
    return Path(config["fc7_storage_dir"] or run_directory(config, config["models_root"]))


def teacher_directory(config: Mapping[str, Any]) -> Path:
    """Return the folder of the files with embeddings of teachers, which the runs of one ``models_root`` share."""
    return Path(config["models_root"]) / "teachers"


def verification_path(config: Mapping[str, Any], target: str) -> Path:
    """Return the path of the set ``target``: that of its flag, else its folder or .bin in ``val_dataset_dir``."""
    given = config.get(f"{target}_dataset_dir")
    if given:
        return Path(given)
    folder = Path(config["val_dataset_dir"]) / target
    single = folder.with_name(f"{target}.bin")
    holds_set = (folder / single.name).is_file() or any(folder.glob("part-*"))
    return single if single.is_file() and not holds_set else folder


def check_sets(config: Mapping[str, Any]) -> None:
    """Check that every set of ``val_targets`` exists.

    Raises:
        UserError: a set does not exist; the message has a line for each and says how to create it.
    """
    missing = [
        f"verification set '{target}' is not at {path}: expected OFRecord parts or a .bin; convert it with "
        f"tools/dataset_convert/bin_2_ofrecord.py or name its place with --{target}_dataset_dir"
        f"{_hint(target, path.parent)}"
        for target in config["val_targets"]
        if not (path := verification_path(config, target)).exists()
    ]
    if missing:
        raise UserError(*missing)


def _hint(target: str, folder: Path) -> str:
    """Return what may have been meant by the name of a set that is not in ``folder``, or the sets that are."""
    names, there = target.split(), list_sets(folder)
    if len(names) > 1:
        return f"; commas separate the sets: --val_targets {','.join(names)}"
    return nearest(target, there) or (f"; --val_targets may name {', '.join(there)}" if there else "")
