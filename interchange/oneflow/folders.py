"""Reads snapshots of older OneFlow ports: folders of raw numbers, in two layouts.

The older layout has a folder per variable, ``conv0-weight/out``, raw float32 without shapes, and momentum beside it
(``conv0-weight-momentum``), under the names of InsightFace's MXNet networks. ``flow.save`` of newer versions writes
``pickled_data``, which names folders with ``out`` and a ``meta`` text; arcface_oneflow saves PyTorch's names this way.
Momentum is not read: the older optimizers store it multiplied by a learning rate that the folders do not hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from common.pickles import DamagedError, ForbiddenError, RestrictedUnpickler
from interchange.foreign_model import ForeignModel
from interchange.matching.recognise import Options, option_variants
from interchange.pytorch.checkpoint import flatten
from interchange.pytorch.state import match_state
from interchange.pytorch.tensors import MAX_BYTES

INDEX = "pickled_data"
_PARTS = {"slope": "alpha", "moving_var": "moving_variance"}
_OPTIONS = ("num_layers", "net_output", "net_blocks")
_TYPES = {"kFloat": "<f4", "kDouble": "<f8", "kFloat16": "<f2", "kInt64": "<i8", "kInt32": "<i4"}
_MAX_META = 1 << 12  # bytes of a shape and a type


def is_oneflow_folder(path: str | Path) -> bool:
    """Tell whether ``path`` is a folder of one of the two layouts."""
    path = Path(path)
    return (path / INDEX).is_file() or (path.is_dir() and any(path.glob("*-weight/out")))


def read_oneflow_folder(path: str | Path, networks: Mapping[str, Options]) -> ForeignModel:
    """Read a snapshot of either layout.

    Args:
        path: the folder.
        networks: the named networks' options, as in sample_config.

    Raises:
        UserError: a file is missing or damaged, or the network is not known.
    """
    path = Path(path)
    if (path / INDEX).is_file():
        return match_state(flatten(_read_saved(path), str(path)), networks, str(path))
    return _read_variables(path, networks)


class _Tensor:
    """Takes the place of OneFlow's tensor; the index holds only its folder."""

    def __setstate__(self, state: Any) -> None:
        self.folder = state["path"] if isinstance(state, dict) and "path" in state else None


class _Anything:
    """Takes the place of placements, SBP and other objects whose values are not used."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Unpickler(RestrictedUnpickler):
    @override
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module.split(".")[0] != "oneflow":
            return super().find_class(module, name)
        return _Tensor if name in ("Tensor", "Parameter") else _Anything


def _read_saved(path: Path) -> Any:
    try:
        content = _Unpickler(_read_small(path / INDEX, MAX_BYTES)).load()
    except ForbiddenError as error:
        raise UserError(f"{path / INDEX}: refused to load '{error}'") from error
    except DamagedError as error:
        raise UserError(f"{path / INDEX} is not an index of flow.save ({error})") from error
    if isinstance(content, dict) and "protocol_version" in content:
        content = content.get("data")
    return _Filler(path).fill(content)


def _read_small(file: Path, most: int) -> bytes:
    """Return the content of a file of at most ``most`` bytes."""
    try:
        if file.stat().st_size > most:
            raise UserError(f"{file} has {file.stat().st_size} bytes; expected at most {most}")
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror})") from error


class _Filler:
    """Replaces tensors by arrays, at any depth of dicts; a folder that is named twice is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrays: dict[str, np.ndarray] = {}
        self._dicts: dict[int, dict] = {}

    def fill(self, content: Any) -> Any:
        if isinstance(content, _Tensor):
            return self._read_tensor(content.folder)
        if not isinstance(content, dict):
            return content
        if id(content) not in self._dicts:
            filled = self._dicts[id(content)] = {}
            filled |= {key: self.fill(value) for key, value in content.items()}
        return self._dicts[id(content)]

    def _read_tensor(self, folder: Any) -> np.ndarray:
        if not isinstance(folder, str) or not re.fullmatch(r"[\w.\-]+", folder) or folder in (".", ".."):
            raise UserError(f"{self._path / INDEX} names the folder {folder!r}")
        if folder not in self._arrays:
            meta = self._path / folder / "meta"
            text = _read_small(meta, _MAX_META).decode(errors="replace")
            shape = tuple(int(number) for number in re.findall(r"\bdim:\s*(\d+)", text))
            kind = re.search(r"data_type:\s*(\w+)", text)
            if kind is None or kind[1] not in _TYPES:
                raise UserError(f"{meta}: expected a data_type of {', '.join(_TYPES)}")
            self._arrays[folder] = _read_numbers(self._path / folder / "out", _TYPES[kind[1]], shape)
        return self._arrays[folder]


def _read_numbers(file: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    expected = prod(shape) * np.dtype(dtype).itemsize
    found = file.stat().st_size if file.is_file() else None
    if found != expected:
        state = "missing" if found is None else f"of {found} bytes"
        raise UserError(f"{file} is {state}, expected {expected} bytes for the shape {shape}")
    return np.fromfile(file, dtype).reshape(shape)


def _read_variables(path: Path, networks: Mapping[str, Options]) -> ForeignModel:
    sizes = {file.parent.name: file.stat().st_size for file in path.glob("*/out")}
    sizes = {name: size for name, size in sizes.items() if not name.endswith(("-momentum", "-m", "-v"))}
    alike = {name: options for name, options in networks.items() if _starts_alike(options, sizes)}
    for options in option_variants(alike, _OPTIONS):
        for wanted in _sized(options, sizes):
            network = build_network(wanted)
            folders = _folders(network)
            if all(sizes.get(name) == 4 * prod(network.parameters()[a].shape) for a, name in folders.items()):
                specs = network.parameters()
                arrays = {a: np.ones(spec.shape, np.float32) for a, spec in specs.items() if spec.fixed}
                arrays |= {a: _read_numbers(path / name / "out", "<f4", specs[a].shape) for a, name in folders.items()}
                return ForeignModel(str(path), network, arrays, _read_rows(path, network.embedding_size))
    raise UserError(f"{path}: its {len(sizes)} variables do not belong to any network known here")


def _starts_alike(options: Options, sizes: Mapping[str, int]) -> bool:
    """Tell whether a folder is named as the first layer of the network, which all its variants share."""
    network = build_network(options)
    first = next(node for node in network.nodes if node.arrays)
    return any(f"{first.name}-{_PARTS.get(part, part)}" in sizes for part in first.arrays)


def _sized(options: Options, sizes: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return ``options`` with the folders' embedding length, in a list; an empty one if they exclude each other."""
    length = sizes.get("fc1-beta", sizes.get("pre_fc1-bias", 0)) // 4
    wanted = {**options, "emb_size": length}
    try:
        build_network(wanted)
    except (UserError, ValueError):
        return []
    return [wanted]


def _folders(network: NetworkGraph) -> dict[str, str]:
    """Return the folder of each array; fixed gammas have none."""
    names = {}
    for node in network.nodes:
        for part, array in node.arrays.items():
            if not network.parameters()[array].fixed:
                names[array] = f"{node.name}-{_PARTS.get(part, part)}"
    return names


def _read_rows(path: Path, length: int) -> dict[str, np.ndarray]:
    file = path / "fc7-weight" / "out"
    if not file.is_file():
        return {}
    if file.stat().st_size % (4 * length):
        raise UserError(f"{file} has {file.stat().st_size} bytes, not a multiple of a row of {length} numbers")
    return {"fc7_weight": np.fromfile(file, "<f4").reshape(-1, length)}
