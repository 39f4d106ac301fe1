"""ONNX to MNN's FILE.mnn.

The converter is called as a library. MNN's command ``mnnconvert`` also reports each conversion over the network, and
installs a package for that with pip.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import MNN


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
    words = ["-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "none", *flags]
    converter.mnnconvert(["mnnconvert", *words])
    if not Path(target).is_file():
        raise RuntimeError("MNN wrote no file; its messages name the operator")
    return {"version": MNN.version()}
