"""What a runtime returns: a model that embeds images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Loaded:
    """A model in a runtime.

    Attributes:
        embed: embeds images float32 [B, 3, S, S], RGB 0..255, to float32 [B, E].
        batch: the only batch size that the model takes; 0 if it takes any.
        processor_seconds: returns how much processor time the runtime has used so far.
        version: of the runtime; empty if it is that of the Python package.
    """

    embed: Callable[[np.ndarray], np.ndarray]
    batch: int = 0
    processor_seconds: Callable[[], float] = time.process_time
    version: str = ""

    def embed_all(self, images: np.ndarray, batch: int) -> np.ndarray:
        """Embed images uint8 [N, 3, S, S], ``batch`` at a time; return float32 [N, E]."""
        step = self.batch or batch
        pieces = [images[first : first + step].astype(np.float32) for first in range(0, len(images), step)]
        return np.concatenate([np.array(self.embed(piece), np.float32) for piece in pieces])
