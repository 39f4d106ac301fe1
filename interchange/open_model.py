"""Opens trained networks of any format: snapshots, ONNX, MXNet, PyTorch, older OneFlow ports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import sample_config
from backbones import build_network
from backbones.graph.arrays import check_arrays
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError, require
from interchange.foreign_model import ForeignModel
from interchange.image_input import RGB, InputFlags, take_images
from interchange.matching.fixed_gammas import settle_gammas
from interchange.matching.recognise import AUTO, Recognition, recognise
from snapshots.layout import MANIFEST
from snapshots.reader import Snapshot, checksum

_CHECKPOINT = re.compile(r"(.+),\s*(\d+)$")
FORMATS = "a snapshot's folder, FILE.onnx, PREFIX,EPOCH of an MXNet checkpoint, or a PyTorch FILE.pth"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network ready to run.

    Attributes:
        path: the name under which it was opened.
        network: its description, as in the file.
        arrays: its arrays.
        about: facts about its training: ``step``, ``network``, ``loss``, ``dataset``, ``checksum``; ``exported_from``,
            the checksum of the snapshot that an ONNX file of this project was exported from.
        config: all settings of its training, as far as the file holds them.
        notes: lines to print about what was taken, assumed or left of another program's file.
        head: the class rows in another program's file, as ``ForeignModel`` has them, if they were asked for.
    """

    path: str
    network: NetworkGraph
    arrays: Mapping[str, np.ndarray]
    about: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    head: Mapping[str, np.ndarray] = field(default_factory=dict)

    def print_notes(self) -> None:
        """Print the notes, one per line."""
        for note in self.notes:
            print(f"note: {self.path}: {note}")


def read_foreign(name: str, flags: InputFlags | None = None) -> ForeignModel | None:
    """Return the foreign model ``name``; None if only a snapshot can have this name.

    ``flags`` say how it takes its images, as far as its file does not.

    Raises:
        UserError: its file is missing or damaged, or holds an unknown operator.
    """
    foreign = None if is_snapshot(name) else _read_file(name)
    return None if foreign is None else take_images(foreign, flags or InputFlags())


def is_snapshot(name: str) -> bool:
    """Tell whether a model is a snapshot, which says how it takes its images."""
    return (Path(name) / MANIFEST).is_file()


def _read_file(name: str) -> ForeignModel | None:
    # Imported here because the readers take half a second, which a snapshot need not wait for.
    from interchange.mxnet.checkpoint import read_checkpoint
    from interchange.oneflow.folders import is_oneflow_folder, read_oneflow_folder
    from interchange.onnx.reader import read_onnx
    from interchange.pytorch.state import SUFFIXES, read_torch

    checkpoint = _CHECKPOINT.match(name)
    if checkpoint and not Path(name).exists():
        return read_checkpoint(checkpoint[1], int(checkpoint[2]))
    if name.endswith(".onnx"):
        return read_onnx(name)
    if name.endswith(SUFFIXES):
        return read_torch(name, sample_config.network)
    if is_oneflow_folder(name):
        return read_oneflow_folder(name, sample_config.network)
    return None


def describe_model(name: str) -> dict[str, Any]:
    """Return the settings of a model's training: all of a snapshot, a network's name and options of other formats.

    Raises:
        UserError: the model cannot be read.
    """
    foreign = read_foreign(name)
    if foreign is None:
        return Snapshot.open(name).about["config"]
    return _foreign_config(foreign, _recognise(foreign))


def _recognise(foreign: ForeignModel) -> Recognition | None:
    """Return which network a model is; None for one that is not known here, which still runs as its file says."""
    try:
        return recognise(foreign.network, sample_config.network, AUTO, foreign.source, foreign.config)
    except UserError:
        return None


def _foreign_config(foreign: ForeignModel, found: Recognition | None) -> dict[str, Any]:
    known = known_settings(foreign.config)
    if found is None:
        size = next(foreign.network.shapes[node.name][1] for node in foreign.network.nodes if node.op == "input")
        sizes = {"image_size": size, "emb_size": foreign.network.embedding_size}
        return {"network": "unknown", "loss": "", "dataset": "", **known, **sizes}
    return {"loss": "", "dataset": "", **known, **found.options, "network": found.name}


def known_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a file that this project has too, with values of the same type."""
    ours = {"network": "", "loss": "", "dataset": "", **sample_config.default, **sample_config.config}
    return {key: value for key, value in config.items() if key in ours and type(value) is type(ours[key])}


def open_model(name: str, flags: InputFlags | None = None, with_rows: bool = False) -> TrainedModel:
    """Open a model for verification.

    Args:
        name: the model.
        flags: how a model of another program takes its images, as far as its file does not say.
        with_rows: keep the class rows of another program's file; those of a snapshot stay in its files.

    Raises:
        UserError: the model cannot be read.
    """
    foreign = read_foreign(name, flags)
    if foreign is None:
        require_no_flags(name, flags)
        require(Path(name).exists(), f"the model {name} does not exist; give {FORMATS}")
        require(not Path(name).is_file(), f"{name} is a file of an unknown kind; give {FORMATS}")
        snapshot = Snapshot.open(name)
        about = snapshot.about
        config = about["config"]
        network, arrays = build_network(config), snapshot.backbone()
        facts = {key: config.get(key, "") for key in ("network", "loss", "dataset")}
        facts |= {"step": about.get("step", 0), "checksum": about["files"]["backbone.safetensors"]["sha256"]}
        _check_fit(network, arrays, name, facts["network"])
        return TrainedModel(name, network, arrays, facts, config)
    found = _recognise(foreign)
    foreign = settle_gammas(foreign, found.pairs if found else None)
    config = _foreign_config(foreign, found)
    facts = {key: config[key] for key in ("network", "loss", "dataset")}
    facts |= {"step": _step(name), "checksum": checksum(model_file(name))}
    if foreign.color_order != RGB:
        facts["color_order"] = foreign.color_order
    if foreign.exported_from:
        facts["exported_from"] = foreign.exported_from
    head = foreign.head if with_rows else {}
    return TrainedModel(name, foreign.network, foreign.arrays, facts, config, foreign.notes, head)


def require_no_flags(name: str, flags: InputFlags | None) -> None:
    """Check that nothing is said about the images of a snapshot, which says it itself.

    Raises:
        UserError: something is.
    """
    if flags is not None and flags.are_given:
        raise UserError(
            f"{name} is a snapshot and says how it takes images; omit --color_order, --input_mean and --input_scale"
        )


def _step(name: str) -> int:
    """Return the step for log lines: the epoch of an MXNet checkpoint, 0 for other files."""
    checkpoint = _CHECKPOINT.match(name)
    return int(checkpoint[2]) if checkpoint else 0


def model_file(name: str) -> Path:
    """Return the file that holds the arrays of a foreign model, or one of several."""
    checkpoint = _CHECKPOINT.match(name)
    if checkpoint and not Path(name).exists():
        from interchange.mxnet.checkpoint import checkpoint_paths

        return checkpoint_paths(checkpoint[1], int(checkpoint[2]))[1]
    return Path(name) if Path(name).is_file() else next(Path(name).glob("*/out"))


def _check_fit(network: NetworkGraph, arrays: Mapping[str, np.ndarray], name: str, of: str) -> None:
    try:
        check_arrays(network, arrays)
    except UserError as error:
        raise UserError(f"{name} (network {of}) does not fit: {error}") from error
