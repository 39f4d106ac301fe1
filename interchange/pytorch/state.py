"""Reads and writes state dicts of PyTorch's face recognition networks, as ``.pth`` or safetensors.

A state dict does not describe the structure; the network follows from its names and shapes. Eps and preprocessing are
those of arcface_torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError, require
from common.files import atomic_file
from interchange.foreign_model import ForeignModel
from interchange.matching.adapt import adapt
from interchange.matching.canonical_layers import pair_layers
from interchange.matching.recognise import Options, name_options
from interchange.pytorch.archive import read_archive, write_archive
from interchange.pytorch.checkpoint import Arrays, find_network, flatten, list_names, show
from interchange.pytorch.class_rows import is_momentum, take_loss_state, take_rows
from interchange.pytorch.families import FAMILIES, Family, Guess
from interchange.pytorch.names import norm_counters, torch_names
from interchange.pytorch.safetensors_file import read_safetensors
from interchange.pytorch.tensors import Array, Tensor

EPS = 1e-5
MEAN, SCALE = 127.5, 1 / 127.5
SUFFIXES = (".pth", ".pt", ".ckpt", ".pth.tar", ".safetensors")
_OF_PYTORCH = ("iresnet", "mbf", "ir")
_HARMLESS = {"beta": 0.0, "bias": 0.0, "gamma": 1.0}  # what an array without a counterpart in PyTorch holds


def read_state(path: str | Path) -> tuple[Arrays, str]:
    """Return the arrays of a ``.pth`` or safetensors file by name, and a remark on what else it holds.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path), ""
    content, skipped = read_archive(path)
    if isinstance(content, Tensor):
        kind = "the momentum of class rows" if is_momentum(str(path)) else "one array"
        raise UserError(
            f"{path} holds {kind} of shape {content.shape}, not a network; give the file of the backbone: class rows "
            "beside it are read with it"
        )
    remark = f"; refused to load '{skipped[0]}'; save the state_dict alone" if skipped else ""
    return flatten(content, str(path)), remark


def read_torch(path: str | Path, networks: Mapping[str, Options]) -> ForeignModel:
    """Read the network in a file of a PyTorch trainer.

    Args:
        path: the file.
        networks: the named networks' options, as in sample_config.

    Raises:
        UserError: the file is damaged, or of another network.
    """
    arrays, remark = read_state(path)
    if not arrays:
        raise UserError(f"{path} does not hold a state dict, a mapping from names to tensors{remark}")
    return match_state(arrays, networks, str(path))


def match_state(arrays: Arrays, networks: Mapping[str, Options], source: str) -> ForeignModel:
    """Return the network that has these arrays by PyTorch's names.

    Raises:
        UserError: no known network has these arrays; the message names the nearest and the first difference.
    """
    found = find_network(arrays, [family.anchors for family in FAMILIES], source)
    if found is None:
        raise UserError(_describe_unknown(arrays, source, networks))
    family = next(each for each in FAMILIES if set(each.anchors) <= set(found.arrays))
    guess = family.guess({name: array.shape for name, array in found.arrays.items()})
    network, names = _build(guess, source, family)
    specs = network.parameters()
    own = {name: found.arrays[name] for name in names.values() if name in found.arrays}
    others = {name: array for name, array in found.arrays.items() if name not in own}
    aside = {**others, **found.beside}
    head, taken, notes = take_rows(aside, network.embedding_size)
    loss_state, names_of_state = take_loss_state(aside, taken)
    taken += names_of_state
    name = name_options(guess.options, networks)
    places = {theirs: specs[ours].shape for ours, theirs in names.items() if ours not in family.optional}
    places |= {names[ours]: specs[ours].shape for ours in family.optional if names.get(ours) in own}
    left = [each for each in others if each not in taken]
    _require_fit(own, places, left, f"{source} is not a network known here; the nearest is {name} ({family.title})")
    notes += [family.note] if family.note else []
    if loss_state:
        notes.append(f"{', '.join(map(show, names_of_state))}: moving values of the loss")
    notes = [*notes, *_describe_rest([each for each in found.beside if each not in taken])]
    values = {ours: _value(own.get(theirs), specs[ours].shape, specs[ours].kind) for ours, theirs in names.items()}
    config = {"network": name, **guess.options}
    return ForeignModel(
        source,
        torch_view(network, free_gamma=True),
        values,
        head,
        config,
        preprocesses=False,
        notes=tuple(notes),
        loss_state=loss_state,
    )


def _build(guess: Guess, source: str, family: Family) -> tuple[NetworkGraph, dict[str, str]]:
    try:
        network = build_network(guess.options)
    except (UserError, ValueError) as error:
        raise UserError(f"{source} looks like {family.title}, but is not a network known here: {error}") from error
    names = torch_names(network, guess.module)
    if names is None:
        raise UserError(f"{source} looks like {family.title}, but has layers that no network known here has")
    return network, names


def _require_fit(own: Arrays, places: Mapping[str, tuple[int, ...]], left: Sequence[str], said: str) -> None:
    """Check that the network has the arrays of ``places``, in these shapes, and no others.

    Raises:
        UserError: it does not; the message begins with ``said`` and names the first difference and what is ``left``.
    """
    wrong = [
        _describe_difference(theirs, own.get(theirs), shape)
        for theirs, shape in places.items()
        if theirs not in own or own[theirs].shape != shape
    ]
    differences = [*wrong[:1], *([f"names left over: {list_names(left)}"] if left else [])]
    require(not differences, f"{said}: {'; '.join(differences)}")


def _value(array: Any, shape: tuple[int, ...], kind: str) -> np.ndarray:
    if array is None:
        return np.full(shape, _HARMLESS[kind], np.float32)
    return np.asarray(array).astype(np.float32)


def _shape(array: Array) -> str:
    return show(str(tuple(array.shape)))


def _describe_difference(name: str, array: Any, expected: tuple[int, ...]) -> str:
    found = "is missing" if array is None else f"has the shape {_shape(array)}"
    return f"{show(name)} {found}, expected {tuple(expected)}"


def _describe_rest(names: Iterable[str]) -> list[str]:
    """Return a note on arrays beside the network that are not taken, by their first word."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.split(".")[0], []).append(name)
    said = [f"{show(g)} ({len(own)} arrays)" if len(own) > 1 else show(own[0]) for g, own in groups.items()]
    return [f"not taken: {list_names(said)}"] if said else []


def _describe_unknown(arrays: Arrays, source: str, networks: Mapping[str, Options]) -> str:
    """Return what is said of a file in which no known family was found: the network that shares most names with it."""
    endings = {".".join(name.split(".")[i:]) for name in arrays for i in range(name.count(".") + 1)}
    best: tuple[int, str, str] = (0, "", "")
    for name, options in networks.items():
        if options["net_name"] not in _OF_PYTORCH:
            continue
        network = build_network(options)
        for family in FAMILIES:
            names = torch_names(network, family.guess({}).module)
            common = [theirs in endings for theirs in (names or {}).values()]
            if sum(common) > best[0]:
                ours, theirs = next((item for item in names.items() if item[1] not in endings), ("", ""))
                shape = network.parameters()[ours].shape if ours else ()
                best = (sum(common), f"{name} ({family.title})", f"{theirs} is missing, expected {tuple(shape)}")
    begins = list_names(f"{show(name)} {_shape(array)}" for name, array in arrays.items())
    if not best[0]:
        titles = "; ".join(family.title for family in FAMILIES)
        return (
            f"{source}: no array is named as in a network known here ({titles}); its {len(arrays)} begin: {begins}. "
            "Export another network as ONNX"
        )
    _, name, difference = best
    return (
        f"{source} is not a network known here; the nearest is {name}, with {best[0]} names in common: {difference}; "
        f"its {len(arrays)} arrays begin: {begins}"
    )


def torch_view(network: NetworkGraph, free_gamma: bool = False) -> NetworkGraph:
    """Return ``network`` with the constants of arcface_torch: eps 1e-5, preprocessing (x - 127.5) / 127.5.

    A preprocessing with another mean stays as it is: it cannot go into the weights.

    With ``free_gamma`` no gamma is fixed: trainers other than arcface_torch train that of the last BatchNorm too.
    """
    view = NetworkGraph()
    for node in network.nodes:
        if node.op == "batch_norm" and free_gamma:
            view.batch_norm(node.inputs[0], node.name, EPS, node.attrs["momentum"])
            continue
        changes = {"batch_norm": {"eps": EPS}, "scale_shift": {"mean": MEAN, "scale": SCALE}}.get(node.op, {})
        if node.op == "scale_shift" and node.attrs["mean"] != MEAN:
            changes = {}
        view.add_like(network, node, node.inputs, **changes)
    return view


def write_torch(path: str | Path, network: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Write the state dict for the PyTorch network that computes the same; return notes on what had to be recomputed.

    Raises:
        UserError: there is no such network, or the file cannot be written.
    """
    names = names_to_write(network)
    if names is None:
        titles = "; ".join(family.title for family in FAMILIES)
        raise UserError(f"PyTorch's trainers have no such network; they have {titles}")
    view = torch_view(network)
    adaptation = adapt(view, pair_layers(view, network), network, arrays)
    state = {theirs: np.ascontiguousarray(adaptation.arrays[ours]) for ours, theirs in names.items()}
    state |= {name: np.zeros((), np.int64) for name in norm_counters(network, names)}
    if Path(path).suffix == ".safetensors":
        with atomic_file(path) as file:
            file.write(save(state))
    else:
        write_archive(path, state)
    return adaptation.notes


def names_to_write(network: NetworkGraph) -> dict[str, str] | None:
    """Return PyTorch's names of our arrays in the first family that would read the network back."""
    specs = network.parameters()
    for family in FAMILIES:
        for has_norm in (True, False):
            guess = family.guess(_probe(network, has_norm))
            names = torch_names(network, guess.module)
            if names is None:
                continue
            guess = family.guess({theirs: specs[ours].shape for ours, theirs in names.items()})
            try:
                back = build_network(guess.options)
            except (UserError, ValueError):
                continue
            is_named = set((torch_names(back, guess.module) or {}).values()) == set(names.values())
            if is_named and pair_layers(torch_view(back), torch_view(network)) is not None:
                return names
    return None


def _probe(network: NetworkGraph, has_norm: bool) -> dict[str, tuple[int, ...]]:
    """Return shapes from which the family of IR networks finds the units of ``network``."""
    first = [node for node in network.nodes if node.op == "conv" and node.name.endswith("_conv1")]
    shapes = {f"body.{i}.res_layer.1.weight": (node.attrs["filters"],) for i, node in enumerate(first)}
    return shapes | ({"body.0.res_layer.2.running_mean": ()} if has_norm else {})
