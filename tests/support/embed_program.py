"""Embeds images into a file with a slow function, for a test to kill: arguments source, target."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from data.image_lists.images import list_images
from data.photos.prepare import PhotoRules
from engine import embed_images
from interchange.open_model import TrainedModel
from tests.support.tiny import EMB_SIZE, IMAGE_SIZE, tiny_network

PIECE = 5


def tiny_model() -> TrainedModel:
    """A model without arrays, for what is written about it."""
    about = {"network": "tiny", "loss": "", "dataset": "", "step": 3, "checksum": "abc"}
    return TrainedModel("models/tiny", tiny_network(), {}, about)


def embed(images: np.ndarray) -> np.ndarray:
    """Embed by fixed weights that differ from column to column, so that mirroring shows.

    The sums are whole numbers below 2**24, so the order of adding, which differs between processes, changes nothing.
    """
    weights = np.random.default_rng(0).integers(-9, 10, (3 * IMAGE_SIZE**2, EMB_SIZE)).astype(np.float32)
    return images.reshape(len(images), -1).astype(np.float32) @ weights / 1000


def slow_embed(images: np.ndarray) -> np.ndarray:
    """Embed, and take time for it."""
    time.sleep(0.1)
    return embed(images)


if __name__ == "__main__":
    embed_images.PIECE = PIECE
    task = embed_images.EmbeddingTask(list_images(sys.argv[1]), PhotoRules(IMAGE_SIZE), batch_size=2)
    embed_images.write_embeddings(Path(sys.argv[2]), tiny_model(), slow_embed, task)
