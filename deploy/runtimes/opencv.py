"""ONNX in OpenCV's dnn module."""

from __future__ import annotations

import cv2
import numpy as np

from deploy.runtimes.loaded import Loaded


def load(path: str, size: int, threads: int) -> Loaded:
    """Load an ONNX file; one Net for all batch sizes, as programs use it."""
    if threads:
        cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(path)

    def embed(images: np.ndarray) -> np.ndarray:
        net.setInput(images)
        return net.forward()

    return Loaded(embed)
