"""First values of a network's arrays."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np

from backbones.graph import NetworkGraph, ParameterSpec

XAVIER_MAGNITUDE = 2.0
PRELU_SLOPE = 0.25


def _xavier_gaussian(spec: ParameterSpec, rng: np.random.Generator) -> np.ndarray:
    """MXNet's Xavier(rnd_type='gaussian', factor_type='out', magnitude=2): std = sqrt(2 / fan_out)."""
    values = rng.standard_normal(spec.shape, dtype=np.float32)
    values *= np.float32(np.sqrt(XAVIER_MAGNITUDE / spec.fan_out))
    return values


def _constant(value: float) -> Callable[[ParameterSpec, np.random.Generator], np.ndarray]:
    return lambda spec, rng: np.full(spec.shape, value, dtype=np.float32)


INITIALIZERS: dict[str, Callable[[ParameterSpec, np.random.Generator], np.ndarray]] = {
    "weight": _xavier_gaussian,
    "bias": _constant(0.0),
    "gamma": _constant(1.0),
    "beta": _constant(0.0),
    "prelu_gamma": _constant(PRELU_SLOPE),
    "moving_mean": _constant(0.0),
    "moving_var": _constant(1.0),
}


def initial_arrays(graph: NetworkGraph, seed: int) -> dict[str, np.ndarray]:
    """Return float32 first values for every parameter of ``graph``, by name.

    Each array depends on ``seed`` (>= 0) and its own name alone, so every rank computes the same ones in any order.
    """
    return {
        name: INITIALIZERS[spec.kind](spec, np.random.default_rng((seed, crc32(name.encode()))))
        for name, spec in graph.parameters().items()
    }
