"""The forms in which a network is written as ONNX."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import require

OPSETS = range(11, 22)
DEFAULT_OPSET = 17
LAYOUTS = ("NCHW", "NHWC")
METADATA = ("full", "short", "none")


@dataclass(frozen=True)
class ExportForm:
    """How a network is written.

    Attributes:
        half: store weights as float16; computation stays in float32.
        fold: fold BatchNorms into the convolution or fully connected layer before them.
        batch: the only number of images that the file takes; 0: any.
        opset: version of ONNX's operators, one of ``OPSETS``.
        preprocess: write ``(x - mean) * scale`` of the image into the file; otherwise its callers compute it.
        layout: axes of the image, one of ``LAYOUTS``.
        metadata: how much the file says about its origin, one of ``METADATA``. "full" has the settings of the training
            and what re-import needs to be exact; "short" names network, step, input and preprocessing.
    """

    half: bool = False
    fold: bool = False
    batch: int = 0
    opset: int = DEFAULT_OPSET
    preprocess: bool = True
    layout: str = LAYOUTS[0]
    metadata: str = METADATA[0]

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: one of them is out of range.
        """
        require(self.opset in OPSETS, f"opset {self.opset} is not one of {OPSETS[0]} to {OPSETS[-1]}")
        require(self.batch >= 0, f"a batch of {self.batch} images is not possible; give a whole number >= 0")
        require(self.metadata in METADATA, f"metadata '{self.metadata}' are unknown; known: {', '.join(METADATA)}")
        require(self.layout in LAYOUTS, f"the layout {self.layout} is unknown; known: {', '.join(LAYOUTS)}")


PLAIN = ExportForm()
