"""Reads and writes state dicts of InsightFace's PyTorch networks, as ``.pth`` or safetensors.

A state dict does not describe the structure; the network follows from its names and shapes. Eps and preprocessing are
those of arcface_torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from common.files import atomic_file
from interchange.foreign_model import ForeignModel
from interchange.matching.adapt import adapt
from interchange.matching.canonical_layers import pair_layers
from interchange.matching.recognise import Options, option_variants
from interchange.pytorch.archive import read_archive, write_archive
from interchange.pytorch.names import COUNTER, norm_counters, torch_names

EPS = 1e-5
MEAN, SCALE = 127.5, 1 / 127.5
SUFFIXES = (".pth", ".pt", ".safetensors")
_PREFIXES = ("module.", "backbone.")
_INSIDE = ("state_dict_backbone", "state_dict", "backbone", "model")
_DEPTH = 4  # containers in containers
IMAGE_SIZES = (112, 96, 128, 144, 160, 192, 224)


def read_state(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.pth`` or safetensors file by name.

    Raises:
        UserError: the file is missing or damaged, or holds objects other than arrays.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="numpy") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not a readable safetensors file ({error})") from error
    content = read_archive(path)
    return plain_state(content, str(path))


def plain_state(content: Any, source: str) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict, or of the state dict inside a checkpoint.

    Raises:
        UserError: ``content`` has no named arrays.
    """
    for _ in range(_DEPTH):
        if not isinstance(content, Mapping) or _has_arrays(content):
            break
        content = next((content[key] for key in _INSIDE if key in content), None)
    if not isinstance(content, Mapping) or not _has_arrays(content):
        raise UserError(f"{source} does not hold a state dict, a mapping from names to tensors")
    return {str(name): value for name, value in content.items() if isinstance(value, np.ndarray)}


def _has_arrays(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, np.ndarray) for value in content.values())


def read_torch(path: str | Path, networks: Mapping[str, Options]) -> ForeignModel:
    """Read the state dict of an iresnet or MobileFaceNet of arcface_torch.

    Args:
        path: the file.
        networks: the named networks' options, as in sample_config.

    Raises:
        UserError: the file is damaged, or of another network.
    """
    return match_state(read_state(path), networks, str(path))


def match_state(state: Mapping[str, np.ndarray], networks: Mapping[str, Options], source: str) -> ForeignModel:
    """Return the network that has these arrays by PyTorch's names.

    Raises:
        UserError: no known network has these arrays.
    """
    given: dict[str, np.ndarray] = {}
    for name, values in state.items():
        while name.startswith(_PREFIXES):
            name = name.split(".", 1)[1]
        if not name.endswith(COUNTER):
            given[name] = values
    given, head = _split_head(given)
    for network, names in _candidates(given, networks):
        arrays = {ours: given.get(theirs) for ours, theirs in names.items()}
        specs = network.parameters()
        for name, spec in specs.items():  # where torch's mbf has no bias
            if arrays[name] is None and spec.kind == "bias":
                arrays[name] = np.zeros(spec.shape, np.float32)
        if all(values is not None for values in arrays.values()) and all(
            values.shape == specs[name].shape for name, values in arrays.items()
        ):
            floats = {name: values.astype(np.float32) for name, values in arrays.items()}
            return ForeignModel(source, torch_view(network), floats, head, preprocesses=False)
    raise UserError(f"{source}: its {len(given)} arrays do not belong to an iresnet or MobileFaceNet known here")


def _split_head(given: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Separate the class centres, which a full model of OneFlow's port holds beside its backbone."""
    names = [name for name in ("weight", "fc7.weight") if name in given and given[name].ndim == 2]
    head = {"fc7_weight": given[names[0]].astype(np.float32)} if names else {}
    return {name: values for name, values in given.items() if name not in names}, head


def _candidates(
    given: Mapping[str, np.ndarray], networks: Mapping[str, Options]
) -> Iterator[tuple[NetworkGraph, dict[str, str]]]:
    """Yield networks without dropout, which arcface_torch does not use, that have all names in ``given``."""
    last = given.get("fc.weight", given.get("features.layers.2.weight"))
    if last is None or last.ndim != 2:
        return
    for options in option_variants(networks, ("num_layers", "net_output", "net_blocks")):
        for size in IMAGE_SIZES:
            try:
                network = build_network({**options, "emb_size": len(last), "image_size": size})
            except (UserError, ValueError):
                break
            names = torch_names(network)
            if names is None or set(given) - set(names.values()) or any(n.op == "dropout" for n in network.nodes):
                break  # none of this depends on the size
            project = next(node for node in network.nodes if node.op == "fully_connected")
            if network.parameters()[project.arrays["weight"]].shape == last.shape:
                yield network, names
                break


def torch_view(network: NetworkGraph) -> NetworkGraph:
    """Return ``network`` with the constants of arcface_torch: eps 1e-5, preprocessing (x - 127.5) / 127.5."""
    view = NetworkGraph()
    for node in network.nodes:
        changes = {"batch_norm": {"eps": EPS}, "scale_shift": {"mean": MEAN, "scale": SCALE}}.get(node.op, {})
        view.add_like(network, node, node.inputs, **changes)
    return view


def write_torch(path: str | Path, network: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Write the state dict for arcface_torch's network; return notes on what had to be recomputed.

    Raises:
        UserError: arcface_torch does not have the network, or the file cannot be written.
    """
    names = torch_names(network)
    if names is None:
        raise UserError("arcface_torch has no such network; it has iresnet and MobileFaceNet")
    view = torch_view(network)
    adaptation = adapt(view, pair_layers(view, network), network, arrays)
    state = {theirs: np.ascontiguousarray(adaptation.arrays[ours]) for ours, theirs in names.items()}
    state |= {name: np.zeros((), np.int64) for name in norm_counters(network, names)}
    if Path(path).suffix == ".safetensors":
        with atomic_file(path) as file:
            save_file(state, file.name)
    else:
        write_archive(path, state)
    return adaptation.notes
