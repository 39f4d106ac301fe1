"""One training step and one inference of a small network or of y1, node by node; run once for each set of kernels.

Usage: run_network.py NAME FOLDER DTYPE... Saves embeddings, gradients and moving statistics as
DTYPE.npz, and prints the calls.
float64 runs on OneFlow's own kernels and is the truth for both sets of float32 kernels.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.graph.initializer import initial_arrays
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.iresnet import build_residual_network
from backbones.networks.options import NetworkOptions
from ops import flow
from ops.native import load_native_kernels, native_calls


def describe(name: str) -> NetworkGraph:
    if name == "y1":
        return build_network({"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"})
    options = NetworkOptions("fresnet", emb_size=32, net_output="FC", image_size=32)
    return build_residual_network([1, 2], [16, 24, 32], options)


class Training(flow.nn.Graph):
    """Images to embeddings and the gradients of a smooth loss."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.config.proto.train_conf.SetInParent()

    def build(self, images: flow.Tensor) -> tuple[flow.Tensor, ...]:
        embeddings = self.backbone(images)
        loss = flow.tanh(embeddings).square().mean()
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(loss)
        parameters = [p.lazy_origin for p in self.backbone.parameters()]
        return (embeddings, *flow.autograd.grad([loss], parameters))


class Inference(flow.nn.Graph):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def build(self, images: flow.Tensor) -> flow.Tensor:
        return self.backbone(images)


def run(name: str, dtype: str) -> dict[str, np.ndarray]:
    graph = describe(name)
    backbone = Backbone(graph, initial_arrays(graph, 0), native=False)
    if dtype == "float64":
        backbone.to(flow.float64)
    placement = flow.placement("cpu", [0])
    backbone.to_global(placement, flow.sbp.broadcast)
    size = graph.shapes[graph.nodes[0].name][-1]
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, size, size)).astype(np.uint8)
    images = flow.tensor(pixels).to_global(placement, flow.sbp.split(0))
    backbone.train()
    embeddings, *gradients = (t.to_local().numpy() for t in Training(backbone)(images))
    results = {f"gradient {name}": g for (name, _), g in zip(backbone.named_parameters(), gradients, strict=True)}
    results |= {f"statistic {n}": a for n, a in backbone.named_arrays().items() if "moving" in n}
    backbone.eval()
    with flow.no_grad():
        inferred = Inference(backbone)(images).to_local().numpy()
    return results | {"embeddings in training": embeddings, "embeddings": inferred}


if __name__ == "__main__":
    load_native_kernels()
    network, folder, *dtypes = sys.argv[1:]
    for dtype in dtypes:
        np.savez(f"{folder}/{dtype}.npz", **run(network, dtype))
    print(json.dumps(native_calls()))
