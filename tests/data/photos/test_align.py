from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from data.photos.align import TEMPLATE, align_face, similarity_transform, template
from data.photos.faces import Face, choose_face
from data.photos.photo import Fault
from data.photos.prepare import align_photo

RNG = np.random.default_rng(7)
IMAGE = cv2.GaussianBlur(RNG.integers(0, 256, (300, 400, 3), np.uint8), (0, 0), 2)


@pytest.fixture(scope="module")
def face_align() -> ModuleType:
    """InsightFace's own module, loaded without the rest of the package."""
    spec = importlib.util.find_spec("insightface")
    path = Path(spec.submodule_search_locations[0]) / "utils" / "face_align.py"
    spec = importlib.util.spec_from_file_location("face_align", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def warped_landmarks(angle: float, scale: float, centre: tuple[float, float]) -> np.ndarray:
    """The template turned, scaled and moved, with an error of some pixels for each point."""
    turn = np.deg2rad(angle)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return ((TEMPLATE - 56) @ rotation.T + centre + RNG.normal(0, 2, (5, 2))).astype(np.float32)


@pytest.mark.parametrize("size", [32, 96, 112, 128, 224, 256])
def test_the_pixels_are_those_of_insightface(face_align: ModuleType, size: int) -> None:
    for angle in range(-180, 180, 24):
        landmarks = warped_landmarks(angle, RNG.uniform(0.3, 4), tuple(RNG.uniform(100, 250, 2)))
        ours = align_face(IMAGE, landmarks, size)
        if size in (32, 96):  # sizes that InsightFace refuses: its transform to 112 pixels, scaled
            expected = face_align.estimate_norm(landmarks, 112) * size / 112
            assert np.abs(similarity_transform(landmarks, template(size)) - expected).max() < 1e-3
        else:
            assert np.array_equal(ours, face_align.norm_crop(IMAGE, landmarks, size))
        assert ours.shape == (size, size, 3)


def face(left: float, top: float, side: float) -> Face:
    return Face((left, top, left + side, top + side), 0.99, TEMPLATE)


def test_the_chosen_face_is_large_and_in_the_middle() -> None:
    shape = (200, 300)
    middle, corner, huge = face(130, 80, 40), face(0, 0, 60), face(10, 10, 180)
    assert choose_face([corner, middle], shape) is middle
    assert choose_face([corner, middle, huge], shape) is huge
    assert choose_face([], shape) == Fault("no face")
    left, right = face(90, 80, 40), face(170, 80, 40)
    assert choose_face([left, right, corner], shape) == Fault("several equal faces", "2 of 3 faces")
    # Area minus twice the squared distance: 1600 for the middle, and 1600 - 2 * 20 ** 2 = 800 beside it.
    assert choose_face([middle, face(149, 80, 40)], shape) == Fault("several equal faces", "2 of 2 faces")
    assert choose_face([middle, face(150, 80, 40)], shape) is middle
    assert choose_face([face(130, 80, 40), small := face(140, 90, 20)], shape).side == 40 and small.area == 400


def test_a_photo_gives_its_face_or_the_reason() -> None:
    encoded = cv2.imencode(".png", IMAGE)[1].tobytes()
    found = face(150, 100, 50)._replace(landmarks=warped_landmarks(0, 1, (200, 150)))
    aligned = align_photo(encoded, lambda image: [found])
    assert np.array_equal(aligned, align_face(IMAGE[..., ::-1], found.landmarks))
    assert align_photo(encoded, lambda image: [found], min_face=51) == Fault("too small", "the face is 50 pixels wide")
    assert align_photo(b"text", lambda image: [found]).reason == "not decodable"
    assert align_photo(encoded, lambda image: []) == Fault("no face")
