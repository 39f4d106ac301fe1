from __future__ import annotations

from pathlib import Path

import numpy as np

from data.drawn_faces import FaceOptions, draw_face, show_people, write_faces
from data.sources.ofrecord import OFRecordSource
from data.verification.verification_set import load_verification_set
from evaluation.baseline import verify_pixels

SIZE = 48


def test_a_face_is_a_function_of_its_arguments() -> None:
    face = draw_face(1, 3, 2, SIZE)
    assert face.shape == (SIZE, SIZE, 3) and face.dtype == np.uint8
    np.testing.assert_array_equal(face, draw_face(1, 3, 2, SIZE))
    for other in ((2, 3, 2), (1, 4, 2), (1, 3, 1)):
        assert np.abs(face.astype(int) - draw_face(*other, SIZE)).mean() > 5
    assert show_people(1, [3, 4], 3, SIZE).shape == (2 * SIZE, 3 * SIZE, 3)


def test_training_set_and_pairs_are_read_as_any_other(tmp_path: Path) -> None:
    written = write_faces(tmp_path, 1, FaceOptions(people=5, images=3, others=40, pairs=200, size=SIZE))
    source = OFRecordSource(written.parts, 5, SIZE)
    assert len(source) == written.images == 15
    assert np.bincount(source.labels(np.arange(15))).tolist() == [3] * 5
    pairs = load_verification_set(written.pairs, "drawn", SIZE)
    assert len(pairs.issame) == 200 and pairs.issame.sum() == 100
    # Raw pixels hardly identify a person.
    assert verify_pixels("drawn", pairs.images, pairs.index, pairs.issame).accuracy < 0.65
