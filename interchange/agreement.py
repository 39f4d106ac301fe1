"""Check a conversion: both sides embed the same images and must agree."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from data.verification.verification_set import load_verification_set
from evaluation.similarity import cosine_similarity
from interchange.embedders import Embed

IMAGES = 16
TOLERANCE = 1e-4  # for float32; relative to the largest value of the embeddings
HALF_TOLERANCE = 2e-2  # for float16 weights


def load_images(network: NetworkGraph, bin_path: str = "") -> np.ndarray:
    """Return up to 16 images, float32 [N, 3, S, S], 0..255: the first of a verification ``.bin``, or seeded noise.

    Raises:
        UserError: the file cannot be read.
    """
    size = next(network.shapes[node.name][1] for node in network.nodes if node.op == "input")
    if bin_path and not Path(bin_path).is_file():
        raise UserError(f"--check_bin {bin_path} is not a file; give a verification .bin")
    if bin_path:
        images = load_verification_set(Path(bin_path), Path(bin_path).stem, size, 0).images
        return images[:IMAGES].astype(np.float32)
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 3, size, size)).astype(np.float32)


class Reference(NamedTuple):
    """The other side of a check: what computes it, its embedder, the most images to give it, and the tolerance."""

    name: str
    embed: Embed
    images: int = IMAGES
    tolerance: float = TOLERANCE


class Agreement(NamedTuple):
    """Number of images, largest difference relative to the largest value, smallest cosine similarity."""

    images: int
    difference: float
    cosine: float


def compare(images: np.ndarray, first: Embed, second: Embed) -> Agreement:
    """Compare two embedders; different shapes or non-finite values count as no agreement at all."""
    a, b = (embed(images).astype(np.float64) for embed in (first, second))
    if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
        return Agreement(len(images), float("inf"), -1.0)
    difference = float(np.abs(a - b).max() / np.abs(a).max())
    return Agreement(len(images), difference, float(cosine_similarity(a, b).min()))


def require_agreement(target: str, agreement: Agreement, sides: str, tolerance: float = TOLERANCE) -> None:
    """Print the agreement and check it.

    Raises:
        UserError: the difference is above ``tolerance``; the caller must not write ``target``.
    """
    images, difference, cosine = agreement
    figures = f"largest relative difference {difference:.2e}, smallest cosine {cosine:.7f}"
    print(f"check on {images} images: {figures} ({sides})")
    if difference == float("inf"):
        raise UserError(f"{target} is not written: {sides} do not both give finite embeddings of one length")
    if not difference <= tolerance:
        raise UserError(f"{target} is not written: {sides} would differ by more than {tolerance:g}")
