"""Put an ONNX file through other programs: ``.venv-deploy/bin/python onnx_tools.py SOURCE FOLDER``.

Writes onnxsim.onnx, onnxslim.onnx and float16.onnx.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import onnxsim
import onnxslim
from onnxconverter_common import float16


def main() -> None:
    """Write the files."""
    source, folder = sys.argv[1], Path(sys.argv[2])
    simplified, correct = onnxsim.simplify(source)
    if not correct:
        raise ValueError("onnxsim's own check failed")
    onnx.save(simplified, folder / "onnxsim.onnx")
    onnx.save(onnxslim.slim(source), folder / "onnxslim.onnx")
    onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=True), folder / "float16.onnx")


if __name__ == "__main__":
    main()
