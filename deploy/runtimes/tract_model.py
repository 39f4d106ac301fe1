"""ONNX in tract, prepared for each batch size, which is twice as fast as for any size."""

from __future__ import annotations

import functools

import numpy as np
import tract

from deploy.runtimes.loaded import Loaded


def load(path: str, size: int, threads: int) -> Loaded:
    """Load an ONNX file; tract computes on one thread."""

    @functools.cache
    def prepare(count: int) -> tract.Runnable:
        model = tract.onnx().load(path)
        model.set_input_fact(0, f"{count},3,{size},{size},f32")
        return model.into_model().into_runnable()

    prepare(1)
    return Loaded(lambda images: prepare(len(images)).run([np.ascontiguousarray(images)])[0].to_numpy())
