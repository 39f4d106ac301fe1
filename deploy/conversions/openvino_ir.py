"""ONNX to OpenVINO's IR, FILE.xml and FILE.bin, in float or in int8."""

from __future__ import annotations

import os

os.environ.setdefault("NNCF_CI", "1")  # without it nncf reports its use over the network

import numpy as np
import openvino


def convert(source: str, target: str, half: bool = False, calibration: str = "") -> dict[str, str]:
    """Write the IR ``target``.

    Args:
        source: the ONNX file.
        target: FILE.xml to write.
        half: store weights as float16.
        calibration: .npy of images, uint8 [N, 3, S, S], to quantise with; empty: float.
    """
    model = openvino.convert_model(source)
    if calibration:
        model = _quantize(model, np.load(calibration))
    openvino.save_model(model, target, compress_to_fp16=half)
    return {"version": openvino.__version__}


def _quantize(model: openvino.Model, images: np.ndarray) -> openvino.Model:
    import nncf

    dataset = nncf.Dataset([image[None].astype(np.float32) for image in images])
    # MIXED: weights symmetric, activations asymmetric, which negative values of PReLU need.
    # The accurate bias correction takes three times as long; the fast one costs a deep network accuracy.
    return nncf.quantize(
        model, dataset, preset=nncf.QuantizationPreset.MIXED, subset_size=len(images), fast_bias_correction=False
    )
