"""Verify pairs from a file of embeddings, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from common.errors import UserError
from evaluation.embedding_store import EmbeddingStore
from evaluation.far_thresholds import FAR_TARGETS
from evaluation.similarity import pair_distances
from evaluation.verification import VerificationResult, add_mirrored, verify_distances


def verify_store(
    store: EmbeddingStore, nrof_folds: int = 10, far_targets: Sequence[float] = FAR_TARGETS
) -> VerificationResult:
    """Return the result of the pairs of a ``.bin``, named after it.

    The numbers are those of a verification with the same model, up to the rounding of the stored rows, except XNorm:
    the mean norm of the stored rows, which with the mirrored image are sums of two embeddings.

    Raises:
        UserError: the file has no pairs, its rows are not finite, or there are fewer pairs than folds.
    """
    if store.issame is None:
        raise UserError(f"{store.path} has no pairs; embed a verification set: tools/embed.py --input NAME.bin")
    name = PurePath(store.about["source"]).stem
    rows = add_mirrored(str(store.path), np.asarray(store.embeddings), None, store.issame)
    distances = pair_distances(rows[0::2], rows[1::2])
    xnorm, mirrored = float(np.mean(store.norms, dtype=np.float64)), bool(store.about["mirrored"])
    return verify_distances(name, distances, store.issame, nrof_folds, xnorm, far_targets, mirrored)


def distinct_rows(store: EmbeddingStore) -> np.ndarray:
    """Return the embeddings [M, E] of the distinct images of a ``.bin``: equal images have equal rows."""
    return np.unique(np.asarray(store.embeddings, np.float32), axis=0)


def group_by_model(stores: Sequence[EmbeddingStore]) -> dict[str, list[EmbeddingStore]]:
    """Return the files of each model, in the order of the sets of the first model.

    Raises:
        UserError: models have other sets or other images than the first, or one has a set twice; the message has a line
            for each.
    """
    by_model: dict[str, list[EmbeddingStore]] = {}
    for store in stores:
        by_model.setdefault(store.about["model"], []).append(store)
    first, *others = by_model
    expected = {store.about["source_sha256"]: place for place, store in enumerate(by_model[first])}
    problems = []
    if len(expected) < len(by_model[first]):
        problems.append(f"{first}: two files have the same set; give each set once")
    for model in others:
        found = [store.about["source_sha256"] for store in by_model[model]]
        if sorted(found) != sorted(expected):
            names, usual = (_name_sets(by_model[each]) for each in (model, first))
            problems.append(f"{model} has embeddings of {names}, and {first} of {usual}: compare the same sets")
        else:
            by_model[model].sort(key=lambda store: expected[store.about["source_sha256"]])
    if problems:
        raise UserError(*problems)
    return by_model


def _name_sets(stores: Sequence[EmbeddingStore]) -> str:
    return ", ".join(store.about["source"] for store in stores)
