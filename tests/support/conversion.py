"""Convert a foreign model to our network, and write files in the formats of older programs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from interchange.foreign_model import ForeignModel
from interchange.matching.adapt import Adaptation, adapt
from interchange.matching.recognise import AUTO, Recognition, recognise
from sample_config import network as NETWORKS

_PARTS = {"prelu_gamma": "alpha", "moving_var": "moving_variance"}


def bring_in(foreign: ForeignModel, wanted: str = AUTO) -> tuple[Recognition, Adaptation]:
    """Return which network it is, and its arrays as ours."""
    found = recognise(foreign.network, NETWORKS, wanted, foreign.source, foreign.config)
    return found, adapt(found.network, found.pairs, foreign.network, foreign.arrays, foreign.training_arrays)


@contextlib.contextmanager
def descriptions_kept() -> Iterator[None]:
    """The searches for a foreign network build the description of each candidate once."""
    kept: dict[str, NetworkGraph] = {}

    def build(options: Mapping[str, Any]) -> NetworkGraph:
        key = json.dumps(dict(options), sort_keys=True)
        if key not in kept:
            kept[key] = build_network(options)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interchange.matching.recognise.build_network", build)
        yield


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference relative to the largest value."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def require_close(actual: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    """Check that two sides embed alike; print how much they differ (shown by ``pytest -rP``)."""
    error = relative_error(actual, expected)
    print(f"largest relative difference {error:.1e}, {what}")
    assert error < tolerance, what


def write_variables(folder: Path, graph: NetworkGraph, arrays: dict[str, np.ndarray]) -> None:
    """One folder per variable, with momentum beside it, as the port of 2020 wrote them."""
    for name, spec in graph.parameters().items():
        part = _PARTS.get(spec.kind, spec.kind)
        node = name.removesuffix("_gamma" if spec.kind == "prelu_gamma" else f"_{spec.kind}")
        if spec.fixed:
            continue
        for suffix, values in (("", arrays[name]), ("-momentum", np.full_like(arrays[name], 9))):
            target = folder / f"{node}-{part}{suffix}"
            target.mkdir(parents=True)
            (target / "out").write_bytes(values.tobytes())
