"""The raw-pixel baseline: what a verification set gives without any network, to be beaten by every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.errors import UserError
from evaluation.pair_metrics import normalize_rows, pair_distances
from evaluation.verification import VerificationResult, verify_distances

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601 weights of R, G, B
CHUNK_PAIRS = 256  # pairs compared at once; 512 float64 images of 112x112 are 51 MB


def pixel_embeddings(images: np.ndarray) -> np.ndarray:
    """Return the grey pixels (luma, 0 to 255) of uint8 RGB ``images [M,3,H,W]`` as float32 ``[M, H*W]``."""
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise UserError(f"images are {images.dtype} {images.shape}; expected uint8 [M,3,H,W]")
    grey = sum(np.float32(weight) * images[:, channel] for channel, weight in enumerate(LUMA))
    return grey.reshape(len(images), -1)


def verify_pixels(
    name: str, images: np.ndarray, index: np.ndarray, issame: Sequence[bool] | np.ndarray, nrof_folds: int = 10
) -> VerificationResult:
    """Score a set by its L2-normalised grey pixels, over the same folds as a model but without the mirrored images.

    ``images`` uint8 ``[M,3,H,W]`` and ``index`` int ``[2N]`` are as for ``embed_set``; XNorm is the mean norm of the
    raw grey rows.

    Raises:
        UserError: ``index`` and ``issame`` disagree, or there are fewer pairs than folds.
    """
    if len(index) != 2 * len(issame):
        raise UserError(f"{name}: {len(index)} images for {len(issame)} pairs; expected {2 * len(issame)}")
    distances, norms = [], []
    for start in range(0, len(index), 2 * CHUNK_PAIRS):
        rows = pixel_embeddings(images[index[start : start + 2 * CHUNK_PAIRS]])
        norms.append(np.linalg.norm(rows.astype(np.float64), axis=1))
        distances.append(pair_distances(normalize_rows(rows)))
    if not distances:
        raise UserError(f"{name}: the set holds no pairs")
    return verify_distances(name, np.concatenate(distances), issame, nrof_folds, float(np.concatenate(norms).mean()))
