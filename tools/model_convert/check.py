"""Check a conversion: both sides embed the same images and must agree."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from data.verification_set import load_verification_set
from evaluation.similarity import cosine_similarity
from interchange.onnx.writer import write_onnx

IMAGES = 16
TOLERANCE = 1e-4  # for float32; relative to the largest value of the embeddings
HALF_TOLERANCE = 2e-2  # for float16 weights
Embed = Callable[[np.ndarray], np.ndarray]


def load_images(network: NetworkGraph, bin_path: str = "") -> np.ndarray:
    """Return up to 16 images, float32 [N, 3, S, S], 0..255: the first of a verification ``.bin``, or seeded noise.

    Raises:
        UserError: the file cannot be read.
    """
    size = next(network.shapes[node.name][1] for node in network.nodes if node.op == "input")
    if bin_path and not Path(bin_path).is_file():
        raise UserError(f"--check_bin {bin_path} is not a file; give a verification .bin")
    if bin_path:
        images = load_verification_set(Path(bin_path), Path(bin_path).stem, size, 0).images
        return images[:IMAGES].astype(np.float32)
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 3, size, size)).astype(np.float32)


def oneflow_embedder(network: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> Embed:
    """Return a function that embeds images with this project's backbone."""
    from backbones.execution.backbone import Backbone
    from ops import flow

    backbone = Backbone(network, arrays).eval()

    def embed(images: np.ndarray) -> np.ndarray:
        with flow.no_grad():
            return backbone(flow.tensor(images)).numpy()

    return embed


def onnx_embedder(model: bytes) -> Embed:
    """Return a function that embeds images with onnxruntime, including the model's preprocessing."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def graph_embedder(network: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> Embed:
    """Return a function that embeds images with onnxruntime, from the graph that a foreign file describes."""
    return onnx_embedder(write_onnx(network, arrays, {}).SerializeToString())


def has_mxnet() -> bool:
    """Tell whether MXNet is installed."""
    return importlib.util.find_spec("mxnet") is not None


def mxnet_embedder(prefix: str | Path, epoch: int) -> Embed:
    """Return a function that embeds images with MXNet's ``load_checkpoint`` and ``Module``, at most 16 at a time."""
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")  # suppresses a line on stderr
    import mxnet as mx

    symbol, arguments, states = mx.model.load_checkpoint(str(prefix), epoch)
    symbol = symbol.get_internals()["fc1_output"]
    needed = {*symbol.list_arguments(), *symbol.list_auxiliary_states()}
    arguments, states = (
        {name: array.astype("float32") for name, array in arrays.items() if name in needed}
        for arrays in (arguments, states)
    )
    module = mx.mod.Module(symbol, data_names=["data"], label_names=None, context=mx.cpu())

    def embed_piece(images: np.ndarray) -> np.ndarray:
        if not module.binded:
            module.bind([("data", images.shape)], for_training=False)
            module.set_params(arguments, states)
        module.forward(mx.io.DataBatch([mx.nd.array(images)]), is_train=False)  # accepts any batch size after the first
        return module.get_outputs()[0].asnumpy()

    def embed(images: np.ndarray) -> np.ndarray:
        return np.concatenate([embed_piece(images[i : i + IMAGES]) for i in range(0, len(images), IMAGES)])

    return embed


class Agreement(NamedTuple):
    """Number of images, largest difference relative to the largest value, smallest cosine similarity."""

    images: int
    difference: float
    cosine: float


def compare(images: np.ndarray, first: Embed, second: Embed) -> Agreement:
    """Compare two embedders; different shapes or non-finite values count as no agreement at all."""
    a, b = (embed(images).astype(np.float64) for embed in (first, second))
    if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
        return Agreement(len(images), float("inf"), -1.0)
    difference = float(np.abs(a - b).max() / np.abs(a).max())
    return Agreement(len(images), difference, float(cosine_similarity(a, b).min()))


def require_agreement(target: str, agreement: Agreement, sides: str, tolerance: float = TOLERANCE) -> None:
    """Print the agreement and check it.

    Raises:
        UserError: the difference is above ``tolerance``; the caller must not write ``target``.
    """
    images, difference, cosine = agreement
    figures = f"largest relative difference {difference:.2e}, smallest cosine {cosine:.7f}"
    print(f"check on {images} images: {figures} ({sides})")
    if not difference <= tolerance:
        raise UserError(f"{target} is not written: {sides} would differ by more than {tolerance:g}")
