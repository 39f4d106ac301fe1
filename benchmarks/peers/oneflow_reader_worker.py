"""OneFlow's reader and decoder, combined as in its ArcFace example; float32 [B, 3, 112, 112]."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.delivery import Delivery
from benchmarks.peers.protocol import serve
from ops import flow


class OneFlowReader(Delivery):
    """Reader, decoder and mirror; pixels stay 0..255, and the images need no resizing."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        size = job["size"]
        self._read = flow.nn.OFRecordReader(
            job["parts"],
            batch_size=size,
            data_part_num=job["num_parts"],
            part_name_suffix_length=5,
            random_shuffle=True,
            shuffle_after_epoch=True,
        )
        self._decode_label = flow.nn.OFRecordRawDecoder("label", shape=(), dtype=flow.int32)
        self._decode_image = flow.nn.OFRecordImageDecoder("encoded", color_space="RGB")
        self._draw_mirror = flow.nn.CoinFlip(size)
        self._normalise = flow.nn.CropMirrorNormalize(
            color_space="RGB",
            output_layout="NCHW",
            crop_h=112,
            crop_w=112,
            crop_pos_y=0.5,
            crop_pos_x=0.5,
            mean=[0.0, 0.0, 0.0],
            std=[1.0, 1.0, 1.0],
            output_dtype=flow.float,
        )
        self.label = f"OneFlow {flow.__version__} OFRecordReader"

    def deliver(self) -> flow.Tensor:
        """Return the next batch."""
        records = self._read()
        images = self._normalise(self._decode_image(records), self._draw_mirror())
        for tensor in (self._decode_label(records), images):
            tensor.numpy()  # waits without a copy: the array shares the tensor's memory
        return images

    def to_numpy(self, batch: flow.Tensor) -> np.ndarray:
        """Return the images."""
        return batch.numpy()


if __name__ == "__main__":
    serve(OneFlowReader)
