"""The AT&T (ORL) faces as the datasets' tool makes them, without writing a dataset."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tools.dataset_convert.orl_2_recordio import picture_folder, read_picture


def orl_faces(count: int) -> np.ndarray:
    """One picture each of the first people, float32 [count, 3, 112, 112], RGB, 0..255."""
    folder = picture_folder()
    pictures = [Image.open(io.BytesIO(read_picture(folder, person, 1))) for person in range(1, count + 1)]
    return np.stack([np.asarray(picture, np.float32).transpose(2, 0, 1) for picture in pictures])
