"""ONNX as a PyTorch module, by onnx2torch."""

from __future__ import annotations

import numpy as np
import onnx2torch
import torch

from deploy.runtimes.loaded import Loaded


def load(path: str, size: int, threads: int) -> Loaded:
    """Load an ONNX file; ``eval`` because onnx2torch returns a module in training mode."""
    if threads:
        torch.set_num_threads(threads)
    module = onnx2torch.convert(path).eval()

    def embed(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(np.ascontiguousarray(images))).numpy()

    return Loaded(embed)
