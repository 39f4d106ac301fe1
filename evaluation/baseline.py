"""The raw-pixel baseline: verify a set without any network. Every model must be better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.errors import UserError
from evaluation.far_thresholds import FAR_TARGETS
from evaluation.similarity import pair_distances
from evaluation.verification import VerificationResult, verify_distances

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601 weights of R, G, B
CHUNK_PAIRS = 256  # pairs compared at once; 512 images of 112x112 in float64 take 51 MB


def pixel_embeddings(images: np.ndarray) -> np.ndarray:
    """Return the grey pixels (luma, 0 to 255) of uint8 RGB ``images [M,3,H,W]`` as float32 ``[M, H*W]``.

    Raises:
        UserError: ``images`` is not uint8 ``[M,3,H,W]``.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise UserError(f"images are {images.dtype} {images.shape}; expected uint8 [M,3,H,W]")
    grey = sum(np.float32(weight) * images[:, channel] for channel, weight in enumerate(LUMA))
    return grey.reshape(len(images), -1)


def verify_pixels(
    name: str,
    images: np.ndarray,
    index: np.ndarray,
    issame: Sequence[bool] | np.ndarray,
    nrof_folds: int = 10,
    far_targets: Sequence[float] = FAR_TARGETS,
) -> VerificationResult:
    """Score a set by its L2-normalised grey pixels, over the same folds as a model, without mirrored images.

    ``images`` uint8 ``[M,3,H,W]`` and ``index`` int ``[2N]`` are those of ``embed_set``; XNorm is the mean norm of the
    grey rows.

    Raises:
        UserError: ``index`` does not have two entries per pair, or there are fewer pairs than folds.
    """
    if len(index) != 2 * len(issame):
        raise UserError(f"{name}: {len(index)} images for {len(issame)} pairs; expected {2 * len(issame)}")
    distances, norms = [], []
    for start in range(0, len(index), 2 * CHUNK_PAIRS):
        rows = pixel_embeddings(images[index[start : start + 2 * CHUNK_PAIRS]])
        norms.append(np.linalg.norm(rows.astype(np.float64), axis=1))
        distances.append(pair_distances(rows[0::2], rows[1::2]))
    if not distances:
        raise UserError(f"{name}: the set contains no pairs")
    xnorm = float(np.concatenate(norms).mean())
    return verify_distances(name, np.concatenate(distances), issame, nrof_folds, xnorm, far_targets, mirrored=False)
