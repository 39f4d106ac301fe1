"""ONNX to MNN's FILE.mnn.

The converter is called as a library. MNN's command ``mnnconvert`` also reports each conversion over the network, and
installs a package for that with pip.
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

import MNN
import numpy as np
import onnx
from onnx import numpy_helper


def convert(source: str, target: str, half: bool = False, weight_bits: int = 0) -> dict[str, str]:
    """Write ``target``.

    Args:
        source: the ONNX file.
        target: the .mnn file to write.
        half: store weights as float16.
        weight_bits: 8 stores weights as integers of 8 bits; 0 does not.

    Raises:
        RuntimeError: MNN wrote no file.
    """
    converter = importlib.import_module("_tools")  # MNN's own module, which needs the package to be imported before
    flags = ["--fp16"] if half else []
    flags += ["--weightQuantBits", str(weight_bits)] if weight_bits else []
    with tempfile.TemporaryDirectory() as folder:
        if half:
            source = _round_weights(source, str(Path(folder) / "rounded.onnx"))
        words = ["-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "none", *flags]
        converter.mnnconvert(["mnnconvert", *words])
    if not Path(target).is_file():
        raise RuntimeError("MNN wrote no file; its messages name the operator")
    return {"version": MNN.version()}


def _round_weights(source: str, target: str) -> str:
    """Write the ONNX file ``target`` with weights rounded to the nearest float16, and return its name.

    MNN cuts weights off towards zero, which shrinks all of them; what float16 holds exactly, it keeps.
    """
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            weights = numpy_helper.to_array(tensor)
            with np.errstate(over="ignore"):
                nearest = weights.astype(np.float16).astype(np.float32)
            rounded = np.where(np.isfinite(nearest), nearest, weights)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    onnx.save(model, target)
    return target
