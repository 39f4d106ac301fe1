"""One step of an optimiser in float64 numpy, written from the papers' formulas."""

from __future__ import annotations

import numpy as np


def update_adamw(
    weight: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    gradient: np.ndarray,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    step: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weight, mean and variance after step number ``step``, from 1 (arXiv:1711.05101, algorithm 2)."""
    gradient = gradient.astype(np.float64)
    mean = betas[0] * mean + (1 - betas[0]) * gradient
    variance = betas[1] * variance + (1 - betas[1]) * gradient**2
    direction = mean / (1 - betas[0] ** step) / (np.sqrt(variance / (1 - betas[1] ** step)) + eps)
    return weight - lr * (direction + weight_decay * weight), mean, variance
