"""Open a face detector by name."""

from __future__ import annotations

from data.photos.faces import Detector
from data.photos.insightface_detector import InsightFaceDetector
from data.photos.mtcnn import MtcnnDetector


def open_detector(model: str = "") -> Detector:
    """Return a detector that can be sent to other processes.

    Args:
        model: ONNX file of SCRFD or RetinaFace; empty for MTCNN, with which InsightFace's training sets were aligned.

    Raises:
        UserError: a package or the file is missing, or the file holds another network.
    """
    return InsightFaceDetector(model).check() if model else MtcnnDetector().check()
