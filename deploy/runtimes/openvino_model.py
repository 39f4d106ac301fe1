"""ONNX or IR in OpenVINO, compiled for each batch size, which is faster than one model of any size."""

from __future__ import annotations

import functools

import numpy as np
import openvino

from deploy.runtimes.loaded import Loaded


def load(path: str, size: int, threads: int, precision: str = "f32") -> Loaded:
    """Load ``FILE.onnx`` or ``FILE.xml``.

    Args:
        path: the file.
        size: height and width of the images.
        threads: number of threads; 0 means one per core.
        precision: INFERENCE_PRECISION_HINT: f32, or bf16, which OpenVINO takes by default where the CPU has it.
    """
    core = openvino.Core()
    model = core.read_model(path)
    batch = model.inputs[0].partial_shape[0]
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings |= {"INFERENCE_NUM_THREADS": threads}

    @functools.cache
    def compile_for(count: int) -> openvino.CompiledModel:
        model.reshape([count, 3, size, size])
        return core.compile_model(model, "CPU", settings)

    def embed(images: np.ndarray) -> np.ndarray:
        return compile_for(len(images))(images)[0]

    return Loaded(embed, 0 if batch.is_dynamic else batch.get_length())
