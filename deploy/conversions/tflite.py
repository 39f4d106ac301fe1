"""ONNX to TensorFlow Lite's FILE.tflite, by onnx2tf."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx2tf

# onnx2tf compares each operator on these images, and downloads them unless the current folder has them.
_SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"


def convert(source: str, target: str, half: bool = False) -> dict[str, str]:
    """Write ``target``, which takes one image, NHWC. Changes the current folder of the process for the while.

    Args:
        source: the ONNX file, by its absolute path.
        target: the .tflite file to write, by its absolute path.
        half: store weights as float16.

    Raises:
        RuntimeError: onnx2tf wrote no file.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            np.save(_SAMPLE, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
            onnx.save(_fix_batch(onnx.load(source)), "model.onnx")
            onnx2tf.convert(
                input_onnx_file_path="model.onnx",
                output_folder_path="converted",
                copy_onnx_input_output_names_to_tflite=True,
                non_verbose=True,
            )
        finally:
            os.chdir(before)
        found = list(Path(folder, "converted").glob(f"model_float{16 if half else 32}.tflite"))
        if not found:
            raise RuntimeError("onnx2tf wrote no file")
        shutil.copyfile(found[0], target)
    return {}


def _fix_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of one image; without known shapes onnx2tf mistakes channels for rows."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)
