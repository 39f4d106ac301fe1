"""What the tests of foreign models share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from sample_config import network as NETWORKS
from tests.support.conversion import descriptions_kept


@pytest.fixture(scope="module", autouse=True)
def _descriptions_kept() -> Iterator[None]:
    with descriptions_kept():
        yield


@pytest.fixture
def y1(random_arrays) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
    """y1 with arrays as a training would leave them; gammas that are fixed are 1."""
    graph = build_network(NETWORKS.y1)
    arrays = random_arrays(graph, 1)
    return graph, {n: np.ones_like(a) if graph.parameters()[n].fixed else a for n, a in arrays.items()}
