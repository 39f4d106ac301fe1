"""Compute the initial values of a network's arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from zlib import crc32

import numpy as np

from backbones.graph.arrays import allocate_arrays
from backbones.graph.network_graph import NetworkGraph, ParameterSpec
from common.workers import available_cpus, map_in_threads

XAVIER_MAGNITUDE = 2.0
PRELU_SLOPE = 0.25

Draw = Callable[[np.ndarray, ParameterSpec, np.random.Generator], None]  # fills the array


def _xavier_gaussian(values: np.ndarray, spec: ParameterSpec, rng: np.random.Generator) -> None:
    """MXNet's Xavier(rnd_type='gaussian', factor_type='out', magnitude=2): std = sqrt(2 / fan_out)."""
    _gaussian(values, rng, np.sqrt(XAVIER_MAGNITUDE / spec.fan_out))


def _xavier_uniform(values: np.ndarray, spec: ParameterSpec, rng: np.random.Generator) -> None:
    """MXNet's Xavier(rnd_type='uniform', factor_type='in', magnitude=2): up to sqrt(2 / fan_in)."""
    _uniform(values, rng, np.sqrt(XAVIER_MAGNITUDE / spec.fan_in))


def _torch_uniform(values: np.ndarray, spec: ParameterSpec, rng: np.random.Generator) -> None:
    """PyTorch's default of linear and convolution layers: up to 1 / sqrt(fan_in)."""
    _uniform(values, rng, np.sqrt(1 / spec.fan_in))


def _normal(deviation: float) -> Draw:
    return lambda values, spec, rng: _gaussian(values, rng, deviation)


def _gaussian(values: np.ndarray, rng: np.random.Generator, deviation: float) -> None:
    rng.standard_normal(out=values, dtype=np.float32)
    values *= np.float32(deviation)


def _truncated_normal(values: np.ndarray, spec: ParameterSpec, rng: np.random.Generator) -> None:
    """timm's trunc_normal_ with a deviation of 0.02: cut at 2, a hundred deviations, so a normal distribution."""
    _gaussian(values, rng, 0.02)


def _uniform(values: np.ndarray, rng: np.random.Generator, limit: float) -> None:
    values[...] = (rng.random(values.shape, dtype=np.float32) * 2 - 1) * limit


def _constant(value: float) -> Draw:
    return lambda values, spec, rng: values.fill(value)


# For weights by rule, for other arrays by kind.
RULES: dict[str, Draw] = {
    "xavier_gaussian": _xavier_gaussian,
    "xavier_uniform": _xavier_uniform,
    "torch_uniform": _torch_uniform,
    "normal": _normal(0.1),
    "truncated_normal": _truncated_normal,
}
KINDS: dict[str, Draw] = {
    "bias": _constant(0.0),
    "gamma": _constant(1.0),
    "beta": _constant(0.0),
    "prelu_gamma": _constant(PRELU_SLOPE),
    "moving_mean": _constant(0.0),
    "moving_var": _constant(1.0),
}


def initial_arrays(graph: NetworkGraph, seed: int) -> dict[str, np.ndarray]:
    """Return float32 initial values of every parameter of ``graph``, by name.

    Each array depends only on ``seed`` (>= 0) and its name, so every rank computes the same values in any order: as
    many at a time as the process has threads. They lie in one block.
    """
    parameters = graph.parameters()
    arrays = allocate_arrays({name: spec.shape for name, spec in parameters.items()})

    def draw(item: tuple[str, ParameterSpec]) -> None:
        name, spec = item
        rule = RULES[spec.rule] if spec.kind == "weight" else KINDS[spec.kind]
        rule(arrays[name], spec, np.random.default_rng((seed, crc32(name.encode()))))

    threads = int(os.environ.get("OMP_NUM_THREADS") or available_cpus())
    with map_in_threads(draw, parameters.items(), threads) as done:
        for _ in done:
            pass
    return arrays
