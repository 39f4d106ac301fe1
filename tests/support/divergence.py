"""The divergence from a teacher's softmax over the classes in float64, and the heads that are compared with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ops.heads.options import HeadOptions
from ops.losses.options import LossOptions

BATCH, EMB_SIZE, TEACHER_SIZE, CLASSES, SEED = 12, 16, 9, 13, 3
WEIGHT, TEMPERATURE, SCALE = 5.0, 2.0, 16.0
# How a head differs from a model parallel one: its options; "kernels" False computes without them; "taught" is the
# number of rows of a class that the teacher has.
WAYS: dict[str, dict[str, Any]] = {
    "model_parallel": {},
    "replicated": {"model_parallel": False},
    "partial_fc": {"partial_fc": True, "sample_ratio": 0.5},
    "all_rows": {"kernels": False},
    "copied_rows": {"kernels": False, "partial_fc": True, "sample_ratio": 0.5},
    "subcenters": {"partial_fc": True, "sample_ratio": 0.5, "num_subcenters": 2, "taught": 3},
    "bf16": {"fc7_dtype": "bf16", "model_parallel": False},
    "uniface": {"loss": "uniface"},
    "smoothing": {"smoothing": 0.1, "model_parallel": False},
}


def make_options(way: dict[str, Any], weight: float = WEIGHT) -> HeadOptions:
    own = {key: value for key, value in way.items() if key not in ("kernels", "taught", "loss", "smoothing")}
    loss = LossOptions(way.get("loss", "arc_loss"), SCALE, loss_m2=0.3, label_smoothing=way.get("smoothing", 0.0))
    taught = {"teacher_logits": weight, "teacher_temperature": TEMPERATURE}
    return HeadOptions(CLASSES, EMB_SIZE, loss, train_batch_size=BATCH, seed=SEED, **taught, **own)


def draw_inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return embeddings of a student and of its teacher, float32, and labels, int32."""
    random = np.random.default_rng(7)
    student, teacher = (random.normal(0, 2, (BATCH, size)).astype(np.float32) for size in (EMB_SIZE, TEACHER_SIZE))
    return student, teacher, random.integers(0, 5, BATCH).astype(np.int32)


def teacher_rows(centres: int = 1) -> np.ndarray:
    """Return unit rows, float32 [CLASSES * centres, TEACHER_SIZE]."""
    rows = np.random.default_rng(8).normal(0, 1, (CLASSES * centres, TEACHER_SIZE))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def read_rows(centres: int) -> Any:
    """Return a function that reads them, as ``ClassHead.learn_from`` takes it."""

    def read(start: int, stop: int, out: np.ndarray) -> None:
        out[:] = teacher_rows(centres)[start * centres : stop * centres]

    return read


def expected(rows: np.ndarray, classes: np.ndarray, taught: int = 1) -> tuple[float, np.ndarray, np.ndarray]:
    """Return WEIGHT times the divergence, and its gradients by the student's embeddings and rows, in float64.

    Args:
        rows: the student's, [CLASSES, centres, EMB_SIZE].
        classes: those that take part.
        taught: rows of a class that the teacher has.
    """
    student, teacher, _ = draw_inputs()
    units, lengths = _unit(student)
    row_units, row_lengths = _unit(rows[classes])
    cosines = np.einsum("be,cke->bck", units, row_units)
    of_teacher = np.einsum(
        "be,cke->bck", _unit(teacher)[0], teacher_rows(taught).astype(np.float64).reshape(CLASSES, taught, -1)[classes]
    ).max(axis=2)
    factor = SCALE / TEMPERATURE
    log_q, log_p = (_log_softmax(each * factor) for each in (cosines.max(axis=2), of_teacher))
    amount = WEIGHT * TEMPERATURE**2
    value = amount * (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    by_cosine = np.zeros_like(cosines)
    difference = (np.exp(log_q) - np.exp(log_p)) * amount * factor / len(student)
    np.put_along_axis(by_cosine, cosines.argmax(axis=2)[..., None], difference[..., None], axis=2)
    by_rows = np.zeros(rows.shape)
    by_rows[classes] = _through_norm(np.einsum("bck,be->cke", by_cosine, units), row_units, row_lengths)
    return value, _through_norm(np.einsum("bck,cke->be", by_cosine, row_units), units, lengths), by_rows


def _unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    return vectors / lengths, lengths


def _through_norm(gradient: np.ndarray, units: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return (gradient - (gradient * units).sum(axis=-1, keepdims=True) * units) / lengths


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
