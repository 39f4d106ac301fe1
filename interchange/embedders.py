"""Functions that embed images with a network, in OneFlow, onnxruntime or MXNet.

An embedder takes images, float32 [N, 3, S, S] RGB 0..255, and returns embeddings, float32 [N, E].
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from common.processor import processor_flags
from interchange.onnx.writer import write_onnx

Embed = Callable[[np.ndarray], np.ndarray]
_MXNET_BATCH = 16
_NODE = re.compile(r"while running (\w+) node\. Name:'([^']*)'")  # in onnxruntime's messages
_NUMPY_TYPES = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}


# Parts of the names of integer operations, in a model's bytes.
_INTEGER_OPERATIONS = (b"ConvInteger", b"MatMulInteger", b"QLinear", b"QuantizeLinear")


def integer_threads(model: bytes) -> int:
    """Return the number of threads for onnxruntime to run ``model``: 0, as many as it likes, or 1.

    Of integer products by AMX onnxruntime 1.23.2 gets the last of 32 rows wrong where 17 to 31 columns are left over
    (mended in its source by pull request 27671). One thread has this in layers of 7x7 pixels alone, and repeats.
    Several threads leave columns over in other layers, too: embeddings of a model of ``quantize_dynamic`` were wrong
    from run to run, with cosines down to 0.
    """
    is_integer = any(name in model for name in _INTEGER_OPERATIONS)
    return 1 if is_integer and "amx_int8" in processor_flags() else 0


def oneflow_embedder(network: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> Embed:
    """Return a function that embeds images with this project's backbone."""
    from backbones.execution.backbone import Backbone
    from ops import flow

    backbone = Backbone(network, arrays).eval()
    direct = backbone.direct_inference(are_constant=True)
    if direct is not None:
        return direct

    def embed(images: np.ndarray) -> np.ndarray:
        with flow.no_grad():
            return backbone(flow.tensor(images)).numpy()

    return embed


def run_in_batches(images: np.ndarray, batch: int, run: Embed) -> np.ndarray:
    """Return what ``run`` makes of images, exactly ``batch`` at a time; the last images fill up the last batch."""
    pieces = []
    for start in range(0, len(images), batch):
        piece = images[start : start + batch]
        full = np.concatenate([piece, np.repeat(piece[-1:], batch - len(piece), axis=0)])
        pieces.append(run(full)[: len(piece)])
    return np.concatenate(pieces)


def onnx_embedder(model: bytes) -> Embed:
    """Return a function that embeds images with onnxruntime, including the model's preprocessing.

    It takes any number of images [N, 3, S, S] and gives them as the model takes them: in its batches, layout and type.

    Raises:
        UserError: onnxruntime refuses the model, now or when it is run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = integer_threads(model)
    options.log_severity_level = 4  # its warnings are about files of other programs, which nobody can change here
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise UserError(_reason(error)) from error
    source, target = session.get_inputs()[0], session.get_outputs()[0]
    channels_last = source.shape[-1] == 3 and source.shape[1] != 3
    fixed = [shape[0] for shape in (source.shape, target.shape) if shape and isinstance(shape[0], int)]

    def run(images: np.ndarray) -> np.ndarray:
        return session.run(None, {source.name: images.astype(_NUMPY_TYPES.get(source.type, np.float32))})[0]

    def embed(images: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if channels_last else images
        try:
            return run_in_batches(images, fixed[0] if fixed else len(images), run)
        except Exception as error:
            if fixed:
                raise UserError(_reason(error)) from error
        try:
            return run_in_batches(images, 1, run)  # a file may have its batch only in the shapes of its Reshapes
        except Exception as error:
            raise UserError(_reason(error)) from error

    return embed


def _reason(error: Exception) -> str:
    """Return onnxruntime's message without its error codes and places in its source."""
    text = " ".join(str(error).split())
    node = _NODE.search(text)
    text = text.rpartition("Status Message: ")[2].rpartition("[ONNXRuntimeError] : ")[2].rpartition(" was false. ")[2]
    return f"{node[2]}, a {node[1]}: {text}" if node else text


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
