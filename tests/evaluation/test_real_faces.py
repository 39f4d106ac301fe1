"""Identification on photographs of 40 people, embedded as their pixels, against scikit-learn and plain products."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from data.drawn_faces import draw_face
from evaluation.baseline import pixel_embeddings
from evaluation.identification.protocol import identify, split_gallery
from evaluation.megaface.protocol import score_megaface
from ops.search import NativeScoreKernel
from tests.support.strangers import orl


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of four pictures of each person, and the people."""
    people = np.repeat(np.arange(1, 41), 4)
    images = np.stack([orl(person, number) for person in range(1, 41) for number in range(1, 5)])
    rows = pixel_embeddings(images.transpose(0, 3, 1, 2))
    return rows - rows.mean(axis=0), people


def test_identification_is_the_nearest_neighbour(faces: tuple[np.ndarray, np.ndarray]) -> None:
    rows, people = faces
    gallery, probes = split_gallery([str(person) for person in people], 1, 0)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    right = KNeighborsClassifier(1).fit(unit[gallery], people[gallery]).predict(unit[probes]) == people[probes]
    result = identify(NativeScoreKernel(), rows[gallery], people[gallery], rows[probes], people[probes])
    assert result.known == 120 and 0.5 < right.mean() < 1
    assert np.array_equal(result.ranks == 1, right)


def test_drawn_faces_as_distractors(faces: tuple[np.ndarray, np.ndarray]) -> None:
    rows, people = faces
    drawn = np.stack([draw_face(0, person, 0, 112) for person in range(150)]).transpose(0, 3, 1, 2)
    distractors = pixel_embeddings(drawn)
    distractors -= distractors.mean(axis=0)
    # The pictures of the other half of ORL are hard distractors among the drawn ones.
    distractors = np.concatenate([distractors, rows[80:]])
    (result,) = score_megaface(NativeScoreKernel(), rows[:80], people[:80].astype(str), distractors, [len(distractors)])
    unit, others = (
        part / np.linalg.norm(part.astype(float), axis=1, keepdims=True) for part in (rows[:80], distractors)
    )
    nearest = (unit @ others.T).max(axis=1)
    hits = [unit[i] @ unit[j] > nearest[i] for i in range(80) for j in range(80) if i != j and people[i] == people[j]]
    assert result.probes == 80 and len(hits) == len(result.ranks) == 240
    assert result.rank(1) == np.mean(hits) and 0.3 < np.mean(hits) < 1
