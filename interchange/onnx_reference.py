"""What a file itself computes: in onnxruntime, or by float64 arithmetic where onnxruntime refuses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from common.errors import UserError
from interchange.agreement import HALF_TOLERANCE, TOLERANCE, Reference
from interchange.embedders import Embed, onnx_embedder, run_in_batches
from interchange.foreign_model import ForeignModel
from interchange.onnx.arithmetic import evaluate
from interchange.onnx.mxnet_exporter import mend
from interchange.onnx.outputs import settle_output
from interchange.onnx.reader import CHANNELS_LAST, load_model

WALK = "float64 arithmetic on the file's graph"
_WALKED_IMAGES = 2  # a second or two of r100's arithmetic for each
_REASON = 160  # characters of onnxruntime's message that are shown


def run_file(path: Path, foreign: ForeignModel) -> Reference:
    """Return an embedder that does what a file's graph does with images [N, 3, S, S] of the values that it takes.

    Args:
        path: the ONNX file.
        foreign: the model as it was read from it.

    Raises:
        UserError: our arithmetic is asked for and cannot run it.
    """
    model = load_model(path)
    settle_output(model.graph, str(path))
    for tensor in model.graph.initializer:
        if tensor.name in foreign.ones:
            tensor.CopyFrom(numpy_helper.from_array(np.ones(tensor.dims, np.float32), tensor.name))
    try:
        embed = onnx_embedder(model.SerializeToString())
        embed(np.zeros((1, *foreign.network.shapes[foreign.network.nodes[0].name]), np.float32))
    except UserError as error:
        print(f"  onnxruntime refuses the file ({_shorten(str(error))}); the check is {WALK}")
        return Reference(WALK, _walk(model, foreign.layout), _WALKED_IMAGES)
    return Reference("onnxruntime", embed, tolerance=HALF_TOLERANCE if _computes_in_half(model) else TOLERANCE)


def _stored(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def _walk(model: onnx.ModelProto, layout: str) -> Embed:
    mend(model.graph)
    image = next(value for value in model.graph.input if value.name not in _stored(model))
    batch = image.type.tensor_type.shape.dim[0].dim_value  # 0 if any number will do

    def embed(images: np.ndarray) -> np.ndarray:
        if layout == CHANNELS_LAST:
            images = images.transpose(0, 2, 3, 1)
        return run_in_batches(images, batch or 1, lambda piece: evaluate(model, piece))

    return embed


def _computes_in_half(model: onnx.ModelProto) -> bool:
    """Tell whether layers take float16 weights as they are, so that their arithmetic is float16, or the result is."""
    if model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
        return True
    halves = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    return any(node.op_type in ("Conv", "Gemm", "MatMul") and halves & set(node.input) for node in model.graph.node)


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _REASON else f"{text[:_REASON]}..."
