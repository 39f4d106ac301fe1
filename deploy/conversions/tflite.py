"""ONNX to TensorFlow Lite's FILE.tflite, by onnx2tf and TensorFlow's converter.

onnx2tf translates the network to Keras and TensorFlow converts it, called here. onnx2tf's own way to the file first
saves a Keras SavedModel, which writes the weights of a layer as text, several times: minutes for the last layer of r18.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx2tf
import tensorflow as tf

# onnx2tf compares each operator on these images, and downloads them unless the current folder has them.
_SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"


def convert(source: str, target: str, half: bool = False) -> dict[str, str]:
    """Write ``target``, which takes one image, NHWC. Changes the current folder of the process for the while.

    Args:
        source: the ONNX file, by its absolute path.
        target: the .tflite file to write, by its absolute path.
        half: store weights as float16.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            np.save(_SAMPLE, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
            onnx.save(_fix_batch(onnx.load(source)), "model.onnx")
            network = _Network(onnx2tf.convert("model.onnx", non_verbose=True, disable_model_save=True))
        finally:
            os.chdir(before)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.embed.get_concrete_function()], network)
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    Path(target).write_bytes(converter.convert())
    return {}


class _Network(tf.Module):
    """A Keras model as a function with the names of the ONNX file; only its variables are saved, not its layers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.kept = model.variables
        entry = tf.TensorSpec(model.inputs[0].shape, tf.float32, "data")
        self.embed = tf.function(lambda data: {"fc1": model(data)}, input_signature=[entry])


def _fix_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of one image; without known shapes onnx2tf mistakes channels for rows."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)
