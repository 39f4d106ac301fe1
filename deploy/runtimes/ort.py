"""ONNX in onnxruntime."""

from __future__ import annotations

import onnxruntime

from deploy.runtimes.loaded import Loaded


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return options for a number of threads; 0 means one per core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return options


def load(path: str, size: int, threads: int) -> Loaded:
    """Load an ONNX file, float or int8."""
    session = onnxruntime.InferenceSession(path, session_options(threads), ["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 0
    return Loaded(lambda images: session.run(None, {entry.name: images})[0], batch)
