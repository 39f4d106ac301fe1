"""The table of runtimes: the package that each needs, where it is installed, and the files that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from common.errors import UserError
from deploy.environment import DEPLOY, NODE, OPENCV4, OPENCV5, PEERS, PROJECT, TFLITE, Environment, MissingPackage


class Runtime(NamedTuple):
    """A module of ``deploy.runtimes`` or ``deploy.conversions``, and its package and environment."""

    module: str
    package: str
    environment: Environment

    def require(self) -> None:
        """Check that the package is installed.

        Raises:
            MissingPackage: it is not.
        """
        if not self.environment.has(self.package):
            raise MissingPackage(self.package, self.environment)


OURS = Runtime("runtimes.ours", "oneflow", PROJECT)
ONNXRUNTIME = Runtime("runtimes.ort", "onnxruntime", PROJECT)
ONNXRUNTIME_WEB = Runtime("runtimes.onnxruntime_web", "onnxruntime-web", NODE)
OPENCV = Runtime("runtimes.opencv", "cv2", PROJECT)
OPENCV_414 = Runtime("runtimes.opencv", "cv2", OPENCV4)
OPENCV_5 = Runtime("runtimes.opencv", "cv2", OPENCV5)
INSIGHTFACE = Runtime("runtimes.insightface_package", "insightface", PROJECT)
OPENVINO = Runtime("runtimes.openvino_model", "openvino", DEPLOY)
NCNN = Runtime("runtimes.ncnn_net", "ncnn", DEPLOY)
MNN = Runtime("runtimes.mnn_net", "MNN", DEPLOY)
LITERT = Runtime("runtimes.litert", "ai_edge_litert", DEPLOY)
TRACT = Runtime("runtimes.tract_model", "tract", DEPLOY)
ONNX2TORCH = Runtime("runtimes.onnx2torch_module", "onnx2torch", PEERS)

TO_OPENVINO = Runtime("conversions.openvino_ir", "openvino", DEPLOY)
NNCF = Runtime("conversions.openvino_ir", "nncf", DEPLOY)
TO_NCNN = Runtime("conversions.ncnn_files", "pnnx", DEPLOY)
TO_MNN = Runtime("conversions.mnn_file", "MNN", DEPLOY)
TO_TFLITE = Runtime("conversions.tflite", "onnx2tf", TFLITE)

READERS = {".onnx": ONNXRUNTIME, ".xml": OPENVINO, ".param": NCNN, ".mnn": MNN, ".tflite": LITERT}


def reader_of(file: str) -> Runtime:
    """Return the runtime that reads a file.

    Raises:
        UserError: no runtime reads it.
    """
    suffix = Path(file).suffix
    if suffix not in READERS:
        raise UserError(f"{file}: no runtime reads this file; give a snapshot or {', '.join(READERS)}")
    return READERS[suffix]
