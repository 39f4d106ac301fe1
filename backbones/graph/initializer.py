"""Compute the initial values of a network's arrays."""

from __future__ import annotations

import os
from collections.abc import Callable
from zlib import crc32

import numpy as np

from backbones.graph.network_graph import NetworkGraph, ParameterSpec
from common.workers import available_cpus, map_in_threads

XAVIER_MAGNITUDE = 2.0
PRELU_SLOPE = 0.25

Draw = Callable[[ParameterSpec, np.random.Generator], np.ndarray]


def _xavier_gaussian(spec: ParameterSpec, rng: np.random.Generator) -> np.ndarray:
    """MXNet's Xavier(rnd_type='gaussian', factor_type='out', magnitude=2): std = sqrt(2 / fan_out)."""
    return _gaussian(spec, rng, np.sqrt(XAVIER_MAGNITUDE / spec.fan_out))


def _xavier_uniform(spec: ParameterSpec, rng: np.random.Generator) -> np.ndarray:
    """MXNet's Xavier(rnd_type='uniform', factor_type='in', magnitude=2): up to sqrt(2 / fan_in)."""
    return _uniform(spec, rng, np.sqrt(XAVIER_MAGNITUDE / spec.fan_in))


def _torch_uniform(spec: ParameterSpec, rng: np.random.Generator) -> np.ndarray:
    """PyTorch's default of linear and convolution layers: up to 1 / sqrt(fan_in)."""
    return _uniform(spec, rng, np.sqrt(1 / spec.fan_in))


def _normal(deviation: float) -> Draw:
    return lambda spec, rng: _gaussian(spec, rng, deviation)


def _gaussian(spec: ParameterSpec, rng: np.random.Generator, deviation: float) -> np.ndarray:
    values = rng.standard_normal(spec.shape, dtype=np.float32)
    values *= np.float32(deviation)
    return values


def _truncated_normal(spec: ParameterSpec, rng: np.random.Generator) -> np.ndarray:
    """timm's trunc_normal_ with a deviation of 0.02: cut at 2, a hundred deviations, so a normal distribution."""
    return _gaussian(spec, rng, 0.02)


def _uniform(spec: ParameterSpec, rng: np.random.Generator, limit: float) -> np.ndarray:
    return ((rng.random(spec.shape, dtype=np.float32) * 2 - 1) * limit).astype(np.float32)


def _constant(value: float) -> Draw:
    return lambda spec, rng: np.full(spec.shape, value, dtype=np.float32)


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
    many at a time as the process has threads.
    """

    def draw(item: tuple[str, ParameterSpec]) -> np.ndarray:
        name, spec = item
        rule = RULES[spec.rule] if spec.kind == "weight" else KINDS[spec.kind]
        return rule(spec, np.random.default_rng((seed, crc32(name.encode()))))

    parameters = graph.parameters()
    threads = int(os.environ.get("OMP_NUM_THREADS") or available_cpus())
    return dict(zip(parameters, map_in_threads(draw, parameters.items(), threads), strict=True))
