"""A .mnn file in MNN."""

from __future__ import annotations

import os

import MNN
import numpy as np

from deploy.runtimes.loaded import Loaded


def load(path: str, size: int, threads: int) -> Loaded:
    """Load a network; images are computed one by one, because not all of MNN's operators take another batch size."""
    interpreter = MNN.Interpreter(path)
    session = interpreter.createSession({"backend": "CPU", "numThread": threads or os.cpu_count(), "precision": "high"})
    source = interpreter.getSessionInput(session)
    shape = (1, 3, size, size)
    interpreter.resizeTensor(source, shape)
    interpreter.resizeSession(session)
    target = interpreter.getSessionOutput(session)

    def embed_one(image: np.ndarray) -> np.ndarray:
        values = np.ascontiguousarray(image, np.float32)
        host = MNN.Tensor(shape, MNN.Halide_Type_Float, values.reshape(shape), MNN.Tensor_DimensionType_Caffe)
        source.copyFrom(host)
        interpreter.runSession(session)
        sizes = tuple(target.getShape())
        row = MNN.Tensor(sizes, MNN.Halide_Type_Float, np.zeros(sizes, np.float32), MNN.Tensor_DimensionType_Caffe)
        target.copyToHostTensor(row)
        return np.array(row.getData(), np.float32).ravel()

    return Loaded(lambda images: np.stack([embed_one(image) for image in images]))
