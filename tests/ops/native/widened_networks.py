"""Trains networks on a batch in bfloat16 and in float32, and embeds it; writes what comes out to a file."""

from __future__ import annotations

import sys

import numpy as np

from backbones import initial_arrays
from backbones.execution.backbone import Backbone
from backbones.graph.network_graph import NetworkGraph
from tests.support import networks

SMALL = {name: (networks.SMALL[name](), 16) for name in ("residual", "mobile", "dense", "wide")}
SMALL["expanded"] = (networks.expanded_depthwise(28, 1, True), 8)
# Convolutions of maps so large that they are widened some images at a time.
IN_PIECES: dict[str, tuple[NetworkGraph, int]] = {
    "filtered": (networks.single_convolution(56, 64, 3, 1, 1, 1, False), 8),
    "biased": (networks.single_convolution(56, 64, 3, 2, 1, 1, True), 12),
    "depthwise": (networks.single_convolution(56, 64, 3, 1, 1, 64, True), 8),
}


def main() -> None:
    outcomes = {}
    for name, (graph, batch) in {**SMALL, **IN_PIECES}.items():
        arrays = initial_arrays(graph, 3)
        for bfloat16 in (False, True):
            outcome = networks.run(Backbone(graph, arrays, bfloat16=bfloat16), batch)
            outcomes |= {f"{name}|{bfloat16}|{part}": values for part, values in outcome.items()}
    np.savez(sys.argv[1], **outcomes)


if __name__ == "__main__":
    main()
