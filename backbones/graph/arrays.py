"""Allocate named arrays, and check those of any kind of file against a network's description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError

_ALIGNMENT = 64  # bytes: a cache line, and a vector of AVX-512


def allocate_arrays(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return uninitialised float32 arrays of these shapes, side by side in one block and each aligned to 64 bytes."""
    sizes = [-(-4 * prod(shape) // _ALIGNMENT) * _ALIGNMENT for shape in shapes.values()]
    block = np.empty(sum(sizes) + _ALIGNMENT, np.uint8)
    start = -block.ctypes.data % _ALIGNMENT
    arrays = {}
    for (name, shape), size in zip(shapes.items(), sizes, strict=True):
        arrays[name] = block[start : start + 4 * prod(shape)].view(np.float32).reshape(shape)
        start += size
    return arrays


def check_arrays(network: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> None:
    """Compare the names and shapes of ``arrays`` with those of ``network``.

    Raises:
        UserError: an array is missing, of another shape, or unknown to the network; the message names the first one.
    """
    parameters = network.parameters()
    for name, spec in parameters.items():
        if name not in arrays:
            raise UserError(f"the weights lack '{name}' {spec.shape}; they belong to another network")
        if tuple(arrays[name].shape) != spec.shape:
            raise UserError(
                f"the weights hold '{name}' of shape {tuple(arrays[name].shape)}, the network expects {spec.shape}; "
                "they belong to another network"
            )
    for name in arrays:
        if name not in parameters:
            raise UserError(
                f"the weights hold '{name}', which the network does not have; they belong to another network"
            )


@dataclass(frozen=True)
class ArrayFit:
    """How named arrays fit a network, layer by layer: a layer fits if all of its arrays do.

    Attributes:
        kept: the arrays of the layers that fit.
        anew: names of the arrays of the other layers, in the network's order.
        unused: names that the network does not have.
        problems: each array that does not fit, and why; empty if all fit.
    """

    kept: Mapping[str, np.ndarray]
    anew: tuple[str, ...]
    unused: tuple[str, ...]
    problems: tuple[str, ...]


def fit_arrays(network: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> ArrayFit:
    """Return which of ``arrays`` fit the layers of ``network``."""
    parameters = network.parameters()
    problems = {}
    for name, spec in parameters.items():
        if name not in arrays:
            problems[name] = f"{name} {spec.shape} is missing"
        elif tuple(arrays[name].shape) != spec.shape:
            problems[name] = f"{name} is {tuple(arrays[name].shape)}, this run's {spec.shape}"
    misfits = [node.arrays.values() for node in network.nodes if not problems.keys().isdisjoint(node.arrays.values())]
    anew = {name for names in misfits for name in names}
    unused = tuple(name for name in arrays if name not in parameters)
    return ArrayFit(
        kept={name: arrays[name] for name in parameters if name not in anew},
        anew=tuple(name for name in parameters if name in anew),
        unused=unused,
        problems=(*problems.values(), *(f"{name} is not one of this network's" for name in unused)),
    )


def batch_norm_arrays(network: NetworkGraph) -> list[str]:
    """Return the names of the trainable arrays of BatchNorm: the betas, and the gammas that are not fixed."""
    parameters = network.parameters()
    names = [name for node in network.nodes if node.op == "batch_norm" for name in node.arrays.values()]
    return [name for name in names if parameters[name].trainable]
