"""ONNX in the recognition model of the insightface package, which takes BGR images and normalises if it must."""

from __future__ import annotations

import numpy as np
from insightface.model_zoo import get_model

from deploy.runtimes.loaded import Loaded
from deploy.runtimes.ort import session_options


def load(path: str, size: int, threads: int) -> Loaded:
    """Load an ONNX file by ``get_model``, which tells from node names whether the preprocessing is inside.

    Raises:
        RuntimeError: the package does not take the file for a recognition model.
    """
    model = get_model(path, providers=["CPUExecutionProvider"], sess_options=session_options(threads))
    if not hasattr(model, "get_feat"):
        raise RuntimeError(f"insightface takes a {size}x{size} model for something else than face recognition")

    def embed(images: np.ndarray) -> np.ndarray:
        return model.get_feat([image[::-1].transpose(1, 2, 0).astype(np.uint8) for image in images])

    batch = model.input_shape[0]
    return Loaded(embed, batch if isinstance(batch, int) else 0)
