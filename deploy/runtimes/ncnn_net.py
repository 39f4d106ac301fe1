"""A .param file and the .bin beside it in ncnn."""

from __future__ import annotations

from pathlib import Path

import ncnn
import numpy as np

from deploy.runtimes.loaded import Loaded


def load(path: str, size: int, threads: int, precision: str = "float16") -> Loaded:
    """Load a network.

    Args:
        path: the .param file.
        size: height and width of the images.
        threads: number of threads; 0 means one per core.
        precision: float32, float16 (ncnn's own choice) or bf16 (feature maps stored as bfloat16).

    Raises:
        RuntimeError: ncnn does not load the network, or does not compute it.
    """
    net = ncnn.Net()
    if threads:
        net.opt.num_threads = threads
    if precision == "float32":
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = precision == "bf16"
    if net.load_param(path) or net.load_model(str(Path(path).with_suffix(".bin"))):
        raise RuntimeError("ncnn does not load the network; its layers are listed in the .param file")
    source, target = net.input_names()[0], net.output_names()[0]

    def embed_one(image: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input(source, ncnn.Mat(np.ascontiguousarray(image)).clone())  # a Mat alone does not keep the array
        code, row = extractor.extract(target)
        if code:
            raise RuntimeError(f"ncnn's extract returns {code}")
        return np.array(row).ravel()

    return Loaded(lambda images: np.stack([embed_one(image) for image in images]))
