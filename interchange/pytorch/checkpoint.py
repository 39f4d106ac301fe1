"""Finds the network in what people save: containers, prefixes, pickled modules, heads and optimizers beside it.

All arrays of a file get one flat name each, ``state_dict.model.conv1.weight``. Where the first arrays of a known family
are, the network is; what lies elsewhere is beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from interchange.pytorch.tensors import Array, Skipped, Tensor

COUNTER = "num_batches_tracked"
Arrays = dict[str, Array]
Anchors = tuple[str, str]
_DEPTH = 64  # modules in modules
_SHOWN, _LONGEST = 3, 80  # names in a message, and characters of each
_MOST = 100_000  # objects looked at; an index may name the same object any number of times


@dataclass(frozen=True)
class Found:
    """The network in a file.

    Attributes:
        prefix: what all its names begin with in the file.
        arrays: its arrays, without the prefix and without counters of steps.
        beside: the other arrays, by their names in the file.
    """

    prefix: str
    arrays: Arrays
    beside: Arrays


def show(name: str) -> str:
    """Return a name of a file for a message, cut if it is very long."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


def list_names(names: Iterable[str]) -> str:
    """Return the first names, and the number of the others, for a message."""
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(show, names[:_SHOWN])) + more


def flatten(content: Any, source: str) -> Arrays:
    """Return the arrays in mappings and modules, by their names joined with dots; lists are not searched.

    Raises:
        UserError: there are none, or far too many objects.
    """
    arrays: Arrays = {}
    stack, looked = [("", content, 0)], 0
    while stack:
        name, value, depth = stack.pop()
        looked += 1
        if looked > _MOST:
            raise UserError(f"{source} is damaged: it holds more than {_MOST} objects")
        if isinstance(value, (np.ndarray, Tensor)):
            arrays[name] = value
        elif depth < _DEPTH:
            before = f"{name}." if name else ""
            stack += [(f"{before}{key}", child, depth + 1) for key, child in reversed(_children(value))]
    return arrays


def _children(value: Any) -> list[tuple[str, Any]]:
    """Return the named parts of a mapping, of a pickled module, or of one of TorchScript."""
    if isinstance(value, Mapping):
        return [(str(key), child) for key, child in value.items()]
    state = value.state if isinstance(value, Skipped) else None
    if not isinstance(state, Mapping):
        return []
    groups = [state.get(group) for group in ("_parameters", "_buffers", "_modules")]
    if any(isinstance(group, Mapping) for group in groups):
        return [item for group in groups if isinstance(group, Mapping) for item in _children(group)]
    kinds = (np.ndarray, Tensor, Skipped)
    return [(str(key), child) for key, child in state.items() if isinstance(child, kinds)]


def find_network(arrays: Arrays, anchors: Iterable[Anchors], source: str) -> Found | None:
    """Return the network in a file; None if no known family begins with such arrays.

    Args:
        arrays: all arrays of the file.
        anchors: two arrays of each known family, by which it is found.
        source: the file, for messages.

    Raises:
        UserError: the file holds several networks.
    """
    prefixes: list[str] = []
    for first, second in anchors:
        starts = [name.removesuffix(first) for name in arrays if name.endswith(first)]
        prefixes += [p for p in starts if (not p or p.endswith(".")) and f"{p}{second}" in arrays]
    if not prefixes:
        return None
    if len(prefixes) > 1:
        raise UserError(
            f"{source} holds {len(prefixes)} networks, under {list_names(prefixes)}; save the state_dict of one alone"
        )
    prefix = prefixes[0]
    inside = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    beside = {name: array for name, array in arrays.items() if not name.startswith(prefix)}
    return Found(prefix, {name: a for name, a in inside.items() if not name.endswith(COUNTER)}, beside)
