"""Functions that embed images with a network, in OneFlow, onnxruntime or MXNet.

An embedder takes images, float32 [N, 3, S, S] RGB 0..255, and returns embeddings, float32 [N, E].
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from interchange.onnx.writer import write_onnx

Embed = Callable[[np.ndarray], np.ndarray]
_MXNET_BATCH = 16


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
    """Return a function that embeds images with MXNet's ``load_checkpoint`` and ``Module``, 16 at a time."""
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
        return np.concatenate([embed_piece(images[i : i + _MXNET_BATCH]) for i in range(0, len(images), _MXNET_BATCH)])

    return embed
