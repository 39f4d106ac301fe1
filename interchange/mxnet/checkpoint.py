"""MXNet checkpoints, ``PREFIX-symbol.json`` and ``PREFIX-0012.params``, read and written without MXNet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from common.files import atomic_file
from interchange.foreign_model import ForeignModel
from interchange.mxnet.params import read_params, write_params
from interchange.mxnet.symbol import read_symbol, translate_symbol
from interchange.mxnet.writer import mxnet_arrays, write_symbol

IMAGE_SIZES = (112, 96, 128, 144, 160, 192, 224)  # a symbol does not say for which images it is
_SHARD = re.compile(r"fc7_(\d+)_(weight|bias)$")


def checkpoint_paths(prefix: str | Path, epoch: int) -> tuple[Path, Path]:
    """Return symbol and parameter file of a checkpoint."""
    return Path(f"{prefix}-symbol.json"), Path(f"{prefix}-{epoch:04d}.params")


def read_checkpoint(prefix: str | Path, epoch: int) -> ForeignModel:
    """Read a checkpoint; fc7 may be one array or several shards, in any precision.

    Raises:
        UserError: a file is missing or damaged, symbol and arrays do not fit, or an operator is unknown.
    """
    symbol_path, params_path = checkpoint_paths(prefix, epoch)
    nodes = read_symbol(symbol_path)
    arrays = {_plain(name): values for name, values in read_params(params_path).items()}
    head = read_head(arrays, str(params_path))
    errors: list[UserError] = []
    for size in IMAGE_SIZES:
        try:
            network, named = translate_symbol(nodes, arrays, size, str(params_path))
        except UserError as error:
            errors.append(error)
        else:
            return ForeignModel(f"{prefix},{epoch}", network, named, head)
    raise errors[0]


def _plain(name: str) -> str:
    """Return the name without ``arg:`` or ``aux:``."""
    return name.split(":", 1)[1] if name.startswith(("arg:", "aux:")) else name


def read_head(arrays: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Return ``fc7_weight`` (and ``fc7_bias``), joined from ``fc7_0_weight``, ``fc7_1_weight``, ... where sharded.

    Raises:
        UserError: a shard is missing.
    """
    head = {name: arrays[name].astype(np.float32) for name in ("fc7_weight", "fc7_bias") if name in arrays}
    shards: dict[str, dict[int, np.ndarray]] = {}
    for name, values in arrays.items():
        match = _SHARD.match(name)
        if match:
            shards.setdefault(f"fc7_{match[2]}", {})[int(match[1])] = values
    for name, pieces in shards.items():
        missing = sorted(set(range(max(pieces) + 1)) - set(pieces))
        if missing:
            raise UserError(f"{source}: shard {missing[0]} of {name} is missing; there are {sorted(pieces)}")
        head[name] = np.concatenate([pieces[number] for number in sorted(pieces)]).astype(np.float32)
    return head


def write_checkpoint(
    prefix: str | Path,
    epoch: int,
    network: NetworkGraph,
    arrays: Mapping[str, np.ndarray],
    head: Mapping[str, np.ndarray] | None = None,
) -> tuple[Path, Path]:
    """Write a checkpoint that MXNet loads; return the two files.

    Raises:
        UserError: ``arrays`` do not fit ``network``, or the files cannot be written.
    """
    symbol_path, params_path = checkpoint_paths(prefix, epoch)
    values = mxnet_arrays(network, arrays, head)
    text = write_symbol(network, head)
    write_params(params_path, values)
    with atomic_file(symbol_path, "w") as file:
        file.write(text)
    return symbol_path, params_path
