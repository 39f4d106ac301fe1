"""The losses on cosines in float64 numpy, written from the papers; their gradients are central differences.

Embeddings [..., B, E] and rows [..., C * K, E] may have further axes in front: so many points are computed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DIFFERENCE = 1e-6  # of the largest value in a row


@dataclass(frozen=True)
class LossValues:
    """The results of a step and the state after it. ``weight``, ``embeddings`` and ``threshold`` are gradients."""

    loss: float
    cross_entropy: float
    correct: int
    embeddings: np.ndarray
    weight: np.ndarray
    state: dict[str, float]
    threshold: np.ndarray | None = None  # gradient of UniFace's


@dataclass(frozen=True)
class _Batch:
    config: Mapping[str, Any]
    labels: np.ndarray
    state: dict[str, float]  # of this step
    length: np.ndarray  # as a constant
    cosine: np.ndarray  # as a constant, [B, C]
    margins: np.ndarray | None  # of the images


def _own(labels: np.ndarray) -> tuple:
    """Return the index of each embedding's own class in arrays [..., B, C]."""
    return ..., np.arange(len(labels)), labels


def _combined(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    config, own = batch.config, _own(batch.labels)
    target = cosine[own]
    margin = np.cos(config["loss_m1"] * np.arccos(target) + config["loss_m2"]) - config["loss_m3"]
    cosine[own] = np.where(target > 0, margin, target) if config["easy_margin"] else margin
    return config["loss_s"] * cosine


def _arc_loss(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    """As train_softmax.py: easy, or where theta + m is beyond pi, without the sum of angles."""
    own, m = _own(batch.labels), batch.config["loss_m2"]
    target = cosine[own]
    margin, easy = np.cos(np.arccos(target) + m), batch.config["easy_margin"]
    kept = target if easy else target - np.sin(np.pi - m) * m
    cosine[own] = np.where(target > (0 if easy else np.cos(np.pi - m)), margin, kept)
    return batch.config["loss_s"] * cosine


def _find_lambda(config: Mapping[str, Any], step: float) -> float:
    moves = max(0, step - config["loss_lambda_freeze"])
    falling = config["loss_lambda_base"] * (1 + config["loss_lambda_gamma"] * moves) ** -config["loss_lambda_power"]
    return max(config["loss_lambda_min"], falling)


def _sphereface(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    own, m = _own(batch.labels), batch.config["loss_m1"]
    strength = _find_lambda(batch.config, batch.state["iteration"])
    theta = np.arccos(cosine[own])
    k = np.floor(theta * m / np.pi)
    psi = np.where(k % 2 == 0, 1, -1) * np.cos(m * theta) - 2 * k
    cosine[own] = (strength * np.cos(theta) + psi) / (1 + strength)
    return length[..., None] * cosine


def _curricularface(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    own, m = _own(batch.labels), batch.config["loss_m2"]
    target = cosine[own]
    margin = np.cos(np.arccos(target) + m)
    changed = np.where(cosine > margin[..., None], cosine * (batch.state["t"] + cosine), cosine)
    changed[own] = np.where(np.arccos(target) + m < np.pi, margin, target - m * np.sin(m))
    return batch.config["loss_s"] * changed


def _adaface(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    own, m, h = _own(batch.labels), batch.config["loss_m3"], batch.config["loss_h"]
    clipped = np.clip(batch.length, 1e-3, 100)
    standard = (clipped - batch.state["length_mean"]) / (batch.state["length_std"] + 1e-3)
    quality = np.clip(h * standard, -1, 1)
    theta = np.arccos(np.clip(cosine[own], -0.999, 0.999))
    cosine[own] = np.cos(np.clip(theta - m * quality, 1e-3, np.pi - 1e-3)) - (m + m * quality)
    return batch.config["loss_s"] * cosine


def _add_angle(target: np.ndarray, angle: np.ndarray | float, easy: bool) -> np.ndarray:
    """ArcFace's margin; easy, or where theta + angle is beyond pi, without it."""
    theta = np.arccos(target)
    if easy:
        return np.where(target > 0, np.cos(theta + angle), target)
    return np.where(theta + angle < np.pi, np.cos(theta + angle), target - angle * np.sin(angle))


def _magface(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    config, own = batch.config, _own(batch.labels)
    bounds, margins = ((config[f"loss_l_{key}"], config[f"loss_u_{key}"]) for key in ("a", "margin"))
    cosine[own] = _add_angle(cosine[own], np.interp(length, bounds, margins), config["easy_margin"])
    return config["loss_s"] * cosine


def _mv_softmax(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    config, own = batch.config, _own(batch.labels)
    target = cosine[own]
    margin = np.cos(np.arccos(target) + config["loss_m2"]) - config["loss_m3"]
    changed = np.where(cosine > margin[..., None], (config["loss_t"] + 1) * cosine + config["loss_t"], cosine)
    changed[own] = np.where(target > 0, margin, target) if config["easy_margin"] else margin
    return config["loss_s"] * changed


def _circle(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The weights are those of the cosines at which the gradient is taken."""
    own, m = _own(batch.labels), batch.config["loss_m3"]
    changed = np.maximum(batch.cosine + m, 0) * (cosine - m)
    changed[own] = np.maximum(1 + m - batch.cosine[own], 0) * (cosine[own] - (1 - m))
    return batch.config["loss_gamma"] * changed


def _elasticface(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    config, own, margin = batch.config, _own(batch.labels), batch.margins
    if config["loss_plus"]:
        margin = np.sort(margin)[np.argsort(np.argsort(-batch.cosine[own]))]
    target = cosine[own]
    cosine[own] = np.cos(np.arccos(target) + margin) if config["loss_m2"] else target - margin
    return config["loss_s"] * cosine


def _dynamic_arcface(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    own = _own(batch.labels)
    cosine[own] = _add_angle(cosine[own], batch.margins, easy=False)
    return batch.config["loss_s"] * cosine


def _adacos(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    return batch.state["s"] * cosine


def _uniface(batch: _Batch, cosine: np.ndarray, length: np.ndarray) -> np.ndarray:
    cosine[_own(batch.labels)] -= batch.config["loss_m3"]
    return batch.config["loss_s"] * cosine


def compute_unified(
    config: Mapping[str, Any], logits: np.ndarray, labels: np.ndarray, threshold: np.ndarray | float
) -> np.ndarray:
    """Return UniFace's mean loss of logits [..., B, C] with their margins."""
    x = logits - threshold
    own = _own(labels)
    weights = np.full(x.shape, config["loss_l"])
    weights[own], x[own] = 1.0, -x[own]
    return (weights * np.logaddexp(0, x)).sum(axis=-1).mean(axis=-1)


def _magface_term(
    config: Mapping[str, Any], cosine: np.ndarray, unit: np.ndarray, labels: np.ndarray, length: np.ndarray
) -> np.ndarray:
    a = np.clip(length, config["loss_l_a"], config["loss_u_a"])
    return config["loss_lambda_g"] * (a / config["loss_u_a"] ** 2 + 1 / a).mean(axis=-1)


def _intra(
    config: Mapping[str, Any], cosine: np.ndarray, unit: np.ndarray, labels: np.ndarray, length: np.ndarray
) -> np.ndarray:
    return config["loss_b"] * np.arccos(cosine[_own(labels)]).mean(axis=-1) / np.pi


def _inter(
    config: Mapping[str, Any], cosine: np.ndarray, unit: np.ndarray, labels: np.ndarray, length: np.ndarray
) -> np.ndarray:
    return config["loss_b"] * (unit[..., labels, :] @ unit.swapaxes(-1, -2)).mean(axis=(-1, -2))


# Terms added to the cross entropy, functions of the cosines, the normalised centres and the lengths.
ADDITIONS = {"intra": _intra, "inter": _inter, "magface": _magface_term}
LOGITS: dict[str, Callable[[_Batch, np.ndarray, np.ndarray], np.ndarray]] = {
    "margin_softmax": _combined,
    "arc_loss": _arc_loss,
    "sphereface": _sphereface,
    "curricularface": _curricularface,
    "adaface": _adaface,
    "magface": _magface,
    "mv_softmax": _mv_softmax,
    "circle": _circle,
    "elasticface": _elasticface,
    "dynamic_arcface": _dynamic_arcface,
    "adacos": _adacos,
    "uniface": _uniface,
    "intra": _combined,
    "inter": _combined,
}
FIRST_STATE = {
    "margin_softmax": {},
    "arc_loss": {},
    "sphereface": {"iteration": 0.0},
    "curricularface": {"t": 0.0},
    "adaface": {"length_mean": 20.0, "length_std": 100.0},
    **{name: {} for name in ("intra", "inter", "magface", "mv_softmax", "circle")},
    **{name: {} for name in ("elasticface", "dynamic_arcface", "uniface")},
    "adacos": {"s": np.sqrt(2) * np.log(6)},  # of 7 classes
}


def _normalize(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _find_cosines(x: np.ndarray, w: np.ndarray, centres: int) -> np.ndarray:
    each = _normalize(x) @ _normalize(w).swapaxes(-1, -2)
    return each if centres == 1 else each.reshape(*each.shape[:-1], -1, centres).max(axis=-1)


def _move(
    config: Mapping[str, Any], state: dict[str, float], cosine: np.ndarray, own: tuple, length: np.ndarray
) -> dict:
    target = cosine[own]
    if "s" in state:
        before = state["s"]
        mean = (np.exp(before * cosine).sum(axis=1) - np.exp(before * target)).mean()
        median = np.sort(np.arccos(target))[(len(target) - 1) // 2]
        return {"s": float(np.log(mean) / np.cos(min(np.pi / 4, median)))}
    clipped = np.clip(length, 1e-3, 100)
    seen = {"t": target.mean(), "length_mean": clipped.mean(), "length_std": clipped.std(ddof=1)}
    moved = {}
    for name, value in state.items():
        moved[name] = value + 1 if name == "iteration" else value + config["loss_t_alpha"] * (seen[name] - value)
    return moved


def _differentiate(function: Callable[[np.ndarray], np.ndarray], at: np.ndarray) -> np.ndarray:
    """Return the gradient of ``function``, which takes points [P, *at.shape], at [N, E]; a row at a time."""
    gradient, width = np.zeros_like(at), at.shape[1]
    steps = DIFFERENCE * np.abs(at).max(axis=1)
    for row, step in enumerate(steps):
        points = np.tile(at, (2 * width, 1, 1))
        points[:width, row] += step * np.eye(width)
        points[width:, row] -= step * np.eye(width)
        values = function(points)
        gradient[row] = (values[:width] - values[width:]) / (2 * step)
    return gradient


def filter_cosines(config: Mapping[str, Any], cosine: np.ndarray, own: tuple) -> np.ndarray:
    """Set the cosines of the others that are above the threshold to 0, in place; return them."""
    threshold = config["interclass_filtering_threshold"]
    if threshold:
        near = cosine > threshold
        near[own] = False
        cosine[near] = 0
    return cosine


def compute_loss(
    config: Mapping[str, Any],
    embeddings: np.ndarray,
    weight: np.ndarray,
    labels: np.ndarray,
    state: dict[str, float],
    margins: np.ndarray | None = None,
    threshold: float = 0.0,
) -> LossValues:
    """Return a step of the loss of ``config`` on [B, E] embeddings and [C * K, E] rows, from the ``state`` before it.

    The K sub-centers of a class are one after the other. ``margins`` are the images'; ``threshold`` is UniFace's.
    """
    x, w = embeddings.astype(np.float64), weight.astype(np.float64)
    own, length = _own(labels), np.linalg.norm(x, axis=1)
    cosine = _find_cosines(x, w, config["num_subcenters"])
    correct = int((cosine.argmax(axis=1) == labels).sum())
    state = _move(config, state, cosine, own, length)
    batch = _Batch(config, labels, state, length, filter_cosines(config, cosine.copy(), own), margins)
    is_unified = config["loss_name"] == "uniface"

    def cross_entropy(
        cosine: np.ndarray, x: np.ndarray, threshold: np.ndarray | float = threshold, smoothing: float = 0.0
    ) -> np.ndarray:
        filter_cosines(config, cosine, own)
        logits = LOGITS[config["loss_name"]](batch, cosine, np.linalg.norm(x, axis=-1))
        if is_unified:
            return compute_unified(config, logits, labels, threshold)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        wanted = (1 - smoothing) * shifted[own] + smoothing * shifted.mean(axis=-1)
        return (np.log(np.exp(shifted).sum(axis=-1)) - wanted).mean(axis=-1)

    def loss(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        cosine = _find_cosines(x, w, config["num_subcenters"])
        add = ADDITIONS.get(config["loss_name"], lambda *_: 0.0)
        smoothed = cross_entropy(cosine.copy(), x, smoothing=config["label_smoothing"])
        return smoothed + add(config, cosine, _normalize(w), labels, np.linalg.norm(x, axis=-1))

    d_x, d_w = _differentiate(lambda moved: loss(moved, w), x), _differentiate(lambda moved: loss(x, moved), w)
    d_threshold = None
    if is_unified:
        d_threshold = _differentiate(
            lambda b: cross_entropy(np.stack([cosine] * len(b)), x, b), np.array([[threshold]])
        )
    values = (float(loss(x, w)), float(cross_entropy(cosine.copy(), x)), correct, d_x, d_w, state)
    return LossValues(*values, d_threshold)
