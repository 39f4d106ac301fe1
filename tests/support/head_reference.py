"""The classification head in float64 numpy: loss, gradients and accuracy, written from the papers' formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeadValues:
    loss: float
    correct: int
    embeddings: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


def compute_head(
    embeddings: np.ndarray,
    weight: np.ndarray,
    labels: np.ndarray,
    margin: tuple[float, float, float] | None,
    scale: float,
    bias: np.ndarray | None = None,
) -> HeadValues:
    """Return the mean loss over [B, E] embeddings, its gradients, and how many are nearest to their own class.

    ``margin`` is (m1, m2, m3) of cos(m1 * theta + m2) - m3; None is the plain softmax.
    """
    x, w = embeddings.astype(np.float64), weight.astype(np.float64)
    rows = np.arange(len(labels))
    if margin is None:
        logits = x @ w.T + (0 if bias is None else bias.astype(np.float64))
        correct = int((logits.argmax(axis=1) == labels).sum())
        loss, d_logits = _cross_entropy(logits, labels)
        return HeadValues(loss, correct, d_logits @ w, d_logits.T @ x, d_logits.sum(axis=0))

    x_norm, w_norm = (np.linalg.norm(a, axis=1, keepdims=True) for a in (x, w))
    x_unit, w_unit = x / x_norm, w / w_norm
    cosine = x_unit @ w_unit.T
    correct = int((cosine.argmax(axis=1) == labels).sum())
    m1, m2, m3 = margin
    theta = np.arccos(np.clip(cosine[rows, labels], -1, 1))
    logits = scale * cosine
    logits[rows, labels] = scale * (np.cos(m1 * theta + m2) - m3)
    loss, d_logits = _cross_entropy(logits, labels)
    d_cosine = scale * d_logits
    with np.errstate(divide="ignore", invalid="ignore"):  # at cosines of 1 and -1 there is no gradient
        d_cosine[rows, labels] *= m1 * np.sin(m1 * theta + m2) / np.sin(theta)
        d_x, d_w = _through_norm(d_cosine @ w_unit, x_unit, x_norm), _through_norm(d_cosine.T @ x_unit, w_unit, w_norm)
    return HeadValues(loss, correct, d_x, d_w, np.zeros(len(w)))


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    gradient = np.exp(log_probability)
    gradient[rows, labels] -= 1
    return float(-log_probability[rows, labels].mean()), gradient / len(labels)


def _through_norm(gradient: np.ndarray, unit: np.ndarray, norm: np.ndarray) -> np.ndarray:
    return (gradient - unit * (gradient * unit).sum(axis=1, keepdims=True)) / norm
