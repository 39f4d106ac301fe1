"""A small network of 112x112 pixels and faces, for tests of deployment."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from backbones.graph.network_graph import NetworkGraph
from data.verification.bin_file import write_bin
from interchange.converted_snapshot import ConvertedModel, write_converted
from interchange.onnx.form import ExportForm
from interchange.onnx.writer import write_onnx
from tests.support.strangers import encode, orl

OPTIONS = {
    "image_size": 112,
    "net_name": "fmobilefacenet",
    "emb_size": 32,
    "net_output": "GDC",
    "net_blocks": [1, 1, 1, 1],
}


def small_network() -> NetworkGraph:
    """A MobileFaceNet with a block of each kind."""
    return build_network(OPTIONS)


def steady_arrays(network: NetworkGraph) -> dict[str, np.ndarray]:
    """Initial arrays with weights that keep the signal's size from layer to layer, as int8 needs."""
    rng, arrays = np.random.default_rng(1), initial_arrays(network, 1)
    for name, spec in network.parameters().items():
        if spec.kind == "weight":
            arrays[name] = rng.normal(0, np.sqrt(2 / np.prod(spec.shape[1:])), spec.shape).astype(np.float32)
    return arrays


def write_small_onnx(path: Path) -> Path:
    """Write the network, folded, with initial weights."""
    network = small_network()
    form = ExportForm(fold=True, metadata="short")
    onnx.save(write_onnx(network, steady_arrays(network), {}, form), path)
    return path


def write_small_snapshot(path: Path) -> Path:
    """Write the same network as a snapshot, which opens sooner than a file whose network must be recognised."""
    network = small_network()
    about = {"network": "y1", "loss": "arcface", "dataset": "orl", "seed": 1}
    write_converted(path, ConvertedModel(about | OPTIONS, network, steady_arrays(network), {}, []), {})
    return path


def write_faces(folder: Path, people: int = 4, each: int = 3) -> Path:
    """Write pictures of ORL, 112x112, into a folder."""
    folder.mkdir()
    for person in range(1, people + 1):
        for number in range(1, each + 1):
            cv2.imwrite(str(folder / f"{person}_{number}.png"), orl(person, number))
    return folder


def write_pairs(path: Path, pairs: int = 20) -> Path:
    """Write a .bin of pairs, every other one of one person."""
    bins = []
    for pair in range(pairs):
        same = pair % 2 == 0
        bins += [encode(orl(pair % 5 + 1, 1), ".png"), encode(orl(pair % 5 + 1 + (not same), pair // 5 + 2), ".png")]
    write_bin(path, bins, [pair % 2 == 0 for pair in range(pairs)])
    return path


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row of ``a`` to that of ``b``."""
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
