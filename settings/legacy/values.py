"""Translate values of older programs, and the single folder in which they keep a dataset."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import require
from data.recordio.property import read_property

# The OneFlow port had one network function per depth.
NET_NAMES: Mapping[str, dict[str, Any]] = {
    f"{kind}{depth}": {"net_name": "fresnet", "num_layers": depth}
    for kind in ("fresnet", "resnet")
    for depth in (50, 100)
}


def parse_image_shape(text: str) -> int:
    """Parse the shape of a square RGB image and return its side: 112 for 112,112,3 or (112, 112, 3).

    Raises:
        ArgumentTypeError: ``text`` is not the shape of a square RGB image.
    """
    sizes = [size.strip() for size in text.strip("()[] ").split(",")]
    if len(sizes) != 3 or sizes[0] != sizes[1] or sizes[2] != "3" or not sizes[0].isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not a square of three colours such as 112,112,3")
    return int(sizes[0])


def place_data(values: Mapping[str, Any], config: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Set dataset, parts, classes and verification sets from ``--data_dir``; return notices to print, one per line.

    Keys ``given`` as flags are not changed.

    Raises:
        UserError: ``--data_dir`` is not a folder, or has no ``property`` file.
    """
    if "data_dir" not in values:
        return []
    folder = Path(values["data_dir"])
    require(folder.is_dir(), f"--data_dir {folder} is not a folder; expected one with property, parts and .bin files")
    config["dataset"] = folder.resolve().name
    if "dataset_dir" not in given:
        config["dataset_dir"] = str(_images_within(folder))
    if "num_classes" not in given:
        config["num_classes"] = read_property(folder).num_classes
    return [] if "val_dataset_dir" in given else place_sets(config, folder)


def _images_within(folder: Path) -> Path:
    """Return where the images of a dataset's folder are: parts, else ``train.rec``."""
    parts = folder / "ofrecord" / "train"
    is_whole = any(folder.glob("part-*")) or ((folder / "train.rec").is_file() and not any(parts.glob("part-*")))
    return folder if is_whole else parts


def place_path(
    values: Mapping[str, Any], config: dict[str, Any], given: Mapping[str, Any], of_file: str | None
) -> list[str]:
    """Set parts and verification sets from ``--dataset_path``, or from that of config.py if it sets no other paths.

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
    """Set the folder of the verification sets to ``folder`` if it contains one of them; return notices to print."""
    if any(_verification_folder(folder, name, config) for name in config["val_targets"]):
        return place_sets(config, folder)
    config["val_dataset_dir"] = config["val_dataset_dir"] or str(folder)
    return []


def place_sets(config: dict[str, Any], folder: Path) -> list[str]:
    """Verify only the sets that are in ``folder``; return a notice that names the others."""
    places = {name: _verification_folder(folder, name, config) for name in config["val_targets"]}
    config["val_dataset_dir"] = str(next((place for place in places.values() if place), folder))
    missing = [name for name, place in places.items() if place is None]
    if not missing:
        return []
    config["val_targets"] = [name for name in places if name not in missing]
    return [f"no {', '.join(missing)} in {folder}: not verified, as in InsightFace's trainers"]


def _verification_folder(folder: Path, name: str, config: Mapping[str, Any]) -> Path | None:
    """Return the folder that contains the verification set ``name``, or ``folder`` if a flag gives its path."""
    if config.get(f"{name}_dataset_dir"):
        return folder
    for place in (folder, folder / "ofrecord"):
        if os.path.isdir(place / name) or os.path.isfile(place / f"{name}.bin"):
            return place
    return None
