"""Detect faces with an ONNX file of SCRFD or RetinaFace, through InsightFace's Python package."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, require
from data.photos.faces import Face

_THRESHOLD = 0.5


class InsightFaceDetector:
    """A detector; it is called with uint8 RGB [H, W, 3] and returns faces.

    The file is loaded at the first call, in each process that the detector was sent to.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Return the faces of an image."""
        boxes, landmarks = self._model.detect(np.ascontiguousarray(image[..., ::-1]))
        return [
            Face(tuple(box[:4].tolist()), float(box[4]), np.asarray(points, np.float32))
            for box, points in zip(boxes, landmarks, strict=True)
        ]

    def __reduce__(self) -> tuple:
        return InsightFaceDetector, (self.path,)

    def check(self) -> InsightFaceDetector:
        """Load the file and return this detector.

        Raises:
            UserError: the package is missing, or the file is missing or does not hold a detector with landmarks.
        """
        return self if self._model else self

    @cached_property
    def _model(self) -> Any:
        usable = self.path.endswith(".onnx") and Path(self.path).is_file()
        require(usable, f"--detector {self.path} is not a file with a name in .onnx; expected SCRFD or RetinaFace")
        try:
            import onnxruntime
            from insightface.model_zoo import get_model
        except ImportError as error:
            raise UserError(
                f"--detector needs InsightFace's package ({error}); "
                "run: pip install --no-deps -r requirements-interop.txt"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the photos are the parallel part
        try:
            model = get_model(self.path, providers=["CPUExecutionProvider"], sess_options=options)
        except Exception as error:  # of onnxruntime, which has many
            raise UserError(f"--detector {self.path} cannot be loaded: {error}") from error
        require(
            getattr(model, "taskname", "") == "detection" and model.use_kps,
            f"--detector {self.path} does not give boxes and five landmarks; expected SCRFD or RetinaFace as ONNX",
        )
        model.prepare(-1, det_thresh=_THRESHOLD)
        return model
