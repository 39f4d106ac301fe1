"""A .tflite file in LiteRT, TensorFlow Lite's successor."""

from __future__ import annotations

import os

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from deploy.runtimes.loaded import Loaded


def load(path: str, size: int, threads: int) -> Loaded:
    """Load a network that takes one image, NHWC or NCHW."""
    interpreter = Interpreter(model_path=path, num_threads=threads or os.cpu_count())
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    axes = (0, 2, 3, 1) if source["shape"][-1] == 3 else (0, 1, 2, 3)

    def embed(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source["index"], np.ascontiguousarray(images.transpose(axes), np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(target["index"]).copy()

    return Loaded(embed, batch=1)
