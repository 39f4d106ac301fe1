"""Every network of sample_config.py: its size, beside published figures; a training step of each in the slow suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sample_config
from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.graph.flops import count_flops, count_parameters
from backbones.graph.initializer import initial_arrays
from backbones.graph.masks import draw_keep_masks
from backbones.graph.network_graph import NetworkGraph
from ops import flow

DOCS = Path(__file__).resolve().parents[2] / "docs" / "networks.md"
# From the ArcFace, MobileFaceNets and VarGFaceNet papers and arcface_torch's README: millions of parameters, billions
# of multiply-adds (the VarGFaceNet paper counts both operations: 1022 million).
PUBLISHED = {
    "y1": (0.99, None),
    "vargfacenet": (5.0, 0.511),
    "iresnet18": (None, 2.6),
    "iresnet50": (None, 6.3),
    "iresnet100": (None, 12.1),
    "iresnet200": (None, 23.5),
    "mbf": (None, 0.45),
    "vit_t": (None, 1.5),
    "vit_s": (None, 5.7),
    "vit_b": (None, 11.4),
    "vit_l_dp005_mask_005": (None, 25.3),
}


def config_of(name: str) -> dict:
    loss, dataset = sample_config.default.loss, sample_config.default.dataset
    return dict(sample_config.generate_config(name, dataset, loss))


def first_values(graph: NetworkGraph) -> dict[str, np.ndarray]:
    """Return initial arrays, with weights of a fixed deviation scaled to keep the size of what they multiply.

    arcface_torch draws the iresnets' weights with a deviation of 0.1 for any fan-in. Only BatchNorm over the batch
    tames them: with the first moving statistics 100 layers overflow float32, in any program.
    """
    arrays = initial_arrays(graph, 1)
    for name, spec in graph.parameters().items():
        if spec.rule == "normal" and spec.kind == "weight":
            arrays[name] *= np.float32(10 / np.sqrt(spec.fan_in))
    return arrays


def documented() -> dict[str, tuple[str, ...]]:
    """The rows of the first table in docs/networks.md, by network."""
    table = DOCS.read_text().split("## Families")[0]
    rows = [line.strip("| \n").split("|") for line in table.splitlines() if line.startswith("| `")]
    return {row[0].strip().strip("`"): tuple(cell.strip() for cell in row[1:]) for row in rows}


@pytest.mark.parametrize("name", sample_config.network)
def test_sizes_are_the_documented_ones(name):
    config = config_of(name)
    graph = build_network(config)
    assert (graph.output, graph.embedding_size) == ("fc1", config["emb_size"])
    assert graph.shapes["data"] == (3, 112, 112)
    parameters, flops = count_parameters(graph) / 1e6, count_flops(graph) / 1e9
    assert documented()[name][:3] == (f"{parameters:.2f} M", f"{flops:.2f} G", str(graph.embedding_size))
    millions, billions = PUBLISHED.get(name, (None, None))
    assert millions is None or parameters == pytest.approx(millions, rel=0.02)
    assert billions is None or flops == pytest.approx(billions, rel=0.03)


def test_the_table_has_every_network():
    assert list(documented()) == list(sample_config.network)


@pytest.mark.slow
@pytest.mark.parametrize("name", sample_config.network)
def test_every_network_trains_and_embeds(name):
    graph = build_network(config_of(name))
    backbone = Backbone(graph, first_values(graph))
    images = flow.tensor(np.random.default_rng(2).integers(0, 256, (2, 3, 112, 112)).astype(np.uint8))
    embeddings = backbone.eval()(images)
    assert tuple(embeddings.shape) == (2, graph.embedding_size)
    assert np.isfinite(embeddings.numpy()).all()
    keep = flow.tensor(draw_keep_masks(1, 0, 2, list(backbone.masks.values())))
    embeddings = backbone.train()(images, keep)
    weight = np.random.default_rng(3).normal(size=embeddings.shape).astype(np.float32)
    (embeddings * flow.tensor(weight)).sum().backward()
    for parameter in backbone.parameters():
        assert np.isfinite(parameter.grad.numpy()).all()
    first = next(node.arrays["weight"] for node in graph.nodes if node.op == "conv")
    assert np.abs(backbone.named_tensors()[first].grad.numpy()).max() > 0
