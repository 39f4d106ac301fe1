"""Where older programs look for parts and verification sets: in the one folder of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import require
from data.recordio_dataset import read_property


def place_data(values: Mapping[str, Any], config: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Take dataset, parts, classes and sets from ``--data_dir``; return what there is to say, a line each.

    ``given`` are the keys that were given as flags: they stay.

    Raises:
        UserError: it is no folder, or without ``property``.
    """
    if "data_dir" not in values:
        return []
    folder = Path(values["data_dir"])
    require(folder.is_dir(), f"--data_dir {folder} is no folder; expected one with property, parts and .bin files")
    config["dataset"] = folder.resolve().name
    if "dataset_dir" not in given:
        parts = folder if any(folder.glob("part-*")) else folder / "ofrecord" / "train"
        config["dataset_dir"] = str(parts)
    if "num_classes" not in given:
        config["num_classes"] = read_property(folder).num_classes
    return [] if "val_dataset_dir" in given else place_sets(config, folder)


def place_path(
    values: Mapping[str, Any], config: dict[str, Any], given: Mapping[str, Any], of_file: str | None
) -> list[str]:
    """Take parts and sets from ``--dataset_path``, or from that of config.py where it names no other places.

    Raises:
        UserError: the flag contradicts ``--dataset_dir``.
    """
    path = values.get("dataset_path", of_file)
    if not path:
        return []
    folder, is_flag = Path(path), "dataset_path" in values
    if is_flag or not config["dataset_dir"]:
        parts = folder / "ofrecord" / "train"
        found = str(parts if parts.is_dir() and not any(folder.glob("part-*")) else folder)
        require(
            given.get("dataset_dir", found) == found,
            f"--dataset_path {path} and --dataset_dir {given.get('dataset_dir')} are two places; give one",
        )
        config["dataset_dir"] = found
    if "val_dataset_dir" in given or (config["val_dataset_dir"] and not is_flag) or config["use_synthetic_data"]:
        return []
    return place_path_sets(config, folder)


def place_path_sets(config: dict[str, Any], folder: Path) -> list[str]:
    """Take the verification sets from ``folder`` if one of them is there; return what there is to say about it."""
    if any(_find_place(folder, name, config) for name in config["val_targets"]):
        return place_sets(config, folder)
    config["val_dataset_dir"] = config["val_dataset_dir"] or str(folder)
    return []


def place_sets(config: dict[str, Any], folder: Path) -> list[str]:
    """Take those verification sets that are in ``folder``; return a line that names the others."""
    places = {name: _find_place(folder, name, config) for name in config["val_targets"]}
    config["val_dataset_dir"] = str(next((place for place in places.values() if place), folder))
    missing = [name for name, place in places.items() if place is None]
    if not missing:
        return []
    config["val_targets"] = [name for name in places if name not in missing]
    return [f"no {', '.join(missing)} in {folder}: not verified, as in InsightFace's trainers"]


def _find_place(folder: Path, name: str, config: Mapping[str, Any]) -> Path | None:
    """Return the folder that holds the verification set ``name``, which may have a place of its own."""
    if config.get(f"{name}_dataset_dir"):
        return folder
    for place in (folder, folder / "ofrecord"):
        if (place / name).is_dir() or (place / f"{name}.bin").is_file():
            return place
    return None
