"""Draw synthetic faces: each person is some thirty random numbers, each picture a random pose, light and noise.

Use them to compare ways of training without a real dataset: training and verification show different people, and the
pairs are hard enough to tell good training from bad.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.progress import progress
from data.image import encode_jpeg
from data.ofrecord.records import encode_train_record, write_record
from data.verification.bin_file import write_bin

_CANVAS = 128  # faces are drawn on this and scaled down
_SHIFT = 4  # cv2 draws at 1/16 of a pixel
_GROUND = 110  # colour of the background
_TRAITS = 32
_PERSON, _VIEW = 1, 2  # keep the draws apart


@dataclass(frozen=True)
class FaceOptions:
    """The size of a set of drawn faces.

    Attributes:
        people: people in the training set.
        images: images of each of them.
        others: other people, in the verification set.
        pairs: verification pairs, half of them of one person.
        size: height and width of the images in pixels.
    """

    people: int
    images: int
    others: int
    pairs: int
    size: int


@dataclass(frozen=True)
class FaceSet:
    """The files of a set of drawn faces: a folder of OFRecord parts, and verification pairs as .bin."""

    parts: Path
    pairs: Path
    people: int
    images: int


def draw_face(seed: int, person: int, view: int, size: int) -> np.ndarray:
    """Draw one picture of a person, uint8 [size, size, 3] RGB; a function of the arguments alone."""
    return _take_picture(_draw_person(seed, person), seed, person, view, size)


def write_faces(folder: Path, seed: int, options: FaceOptions) -> FaceSet:
    """Write a training set, and verification pairs of other people, half of them showing one person."""
    people, size = options.people, options.size
    pictures = ((person, view, person) for person in range(people) for view in range(options.images))
    images = write_pictures(folder / "train", seed, pictures, size)
    write_pairs(folder / "drawn.bin", seed, people, options)
    return FaceSet(folder / "train", folder / "drawn.bin", people, images)


def write_pictures(folder: Path, seed: int, pictures: Iterable[tuple[int, int, int]], size: int) -> int:
    """Write pictures as the one OFRecord part of a new folder; return their number.

    Args:
        folder: the folder; it must not exist yet.
        seed: of the faces.
        pictures: person, view and label of each; those of a person in a row are drawn faster.
        size: height and width in pixels.
    """
    folder.mkdir(parents=True)
    count, drawn, face = 0, -1, np.empty(0)
    with open(folder / "part-00000", "wb") as part:
        for person, view, label in progress(pictures, desc="faces", unit="picture"):
            if person != drawn:
                drawn, face = person, _draw_person(seed, person)
            picture = _take_picture(face, seed, person, view, size)
            write_record(part, encode_train_record(encode_jpeg(picture), label))
            count += 1
    return count


def write_pairs(path: Path, seed: int, first: int, options: FaceOptions) -> None:
    """Write verification pairs of the people from number ``first`` on as .bin; every second pair is of one person."""
    rng = np.random.default_rng([seed, first])
    faces, same = [], []
    for number in progress(range(options.pairs), desc="pairs"):
        is_same = number % 2 == 0
        one, other = first + rng.choice(options.others, 2, replace=False)
        for view, person in ((2 * number, one), (2 * number + 1, one if is_same else other)):
            faces.append(encode_jpeg(draw_face(seed, int(person), view, options.size)))
        same.append(is_same)
    write_bin(path, faces, same)


def _draw_person(seed: int, person: int) -> np.ndarray:
    """Draw the frontal face without noise on a grey background, uint8 [_CANVAS, _CANVAS, 3]."""
    t = iter(np.random.default_rng([seed, _PERSON, person]).normal(0, 1, _TRAITS).clip(-2, 2).tolist())
    skin = np.array([175, 140, 115]) + 24 * next(t) + np.array([10, 0, -8]) * next(t)
    hair = np.array([85, 65, 50]) + 26 * next(t) + np.array([22, 2, -14]) * next(t)
    canvas = np.full((_CANVAS, _CANVAS, 3), _GROUND, np.uint8)
    x, y = 64.0, 68.0
    width, height, jaw = 36 + 3 * next(t), 46 + 3 * next(t), 20 + 4 * next(t)
    _ellipse(canvas, (x, y - 8), (width + 6, height + 3 + 2 * next(t)), hair)
    _ellipse(canvas, (x, y), (width, height), skin)
    _ellipse(canvas, (x, y + height - jaw), (jaw, jaw * 0.95), skin)
    line = height * (0.62 + 0.08 * next(t))
    parting = 12 * next(t)
    _ellipse(canvas, (x + parting, y - line - 14), (width * 0.9, 17), hair)
    apart, eye_y = 16 + 1.6 * next(t), y - 8 + 2.5 * next(t)
    eye, iris = (6.5 + next(t), 3.5 + 0.7 * next(t)), np.array([90, 80, 70]) + 30 * next(t)
    slant, brow, thick, arch = 6 * next(t), 9 + 1.8 * next(t), 1.8 + 0.6 * next(t), 8 * next(t)
    for side in (-1, 1):
        place = (x + side * apart, eye_y)
        _ellipse(canvas, place, eye, np.array([235, 232, 228]), side * slant)
        _ellipse(canvas, place, (eye[1] * 0.85, eye[1] * 0.85), iris)
        _ellipse(canvas, (place[0], eye_y - brow), (9.0, max(0.8, thick)), hair, side * (slant + arch))
    nose, nostril = 17 + 2.5 * next(t), 5.5 + 1.2 * next(t)
    bend = 1.5 * next(t)
    _ellipse(canvas, (x + bend, eye_y + nose * 0.55), (2.2, nose * 0.5), skin * 0.9)
    _ellipse(canvas, (x + bend, eye_y + nose), (nostril, 3.2), skin * 0.82)
    mouth_y, mouth, lips = y + 23 + 2.5 * next(t), 12 + 2.2 * next(t), 3 + 0.9 * next(t)
    _ellipse(canvas, (x, mouth_y), (mouth, max(1.2, lips)), skin * 0.72 + np.array([25, -8, -4]) * (1 + 0.4 * next(t)))
    _ellipse(canvas, (x, mouth_y), (mouth * 0.95, 0.7), skin * 0.4)
    for _ in range(2):  # moles
        _ellipse(canvas, (x + 14 * next(t), y + 12 + 9 * next(t)), (1.6, 1.6), skin * 0.5)
    return canvas


def _ellipse(
    canvas: np.ndarray, centre: tuple[float, float], axes: tuple[float, float], colour: np.ndarray, angle: float = 0.0
) -> None:
    scaled = [tuple(round(value * (1 << _SHIFT)) for value in pair) for pair in (centre, axes)]
    cv2.ellipse(canvas, *scaled, angle, 0, 360, colour.clip(0, 255).tolist(), -1, cv2.LINE_AA, _SHIFT)


def _take_picture(face: np.ndarray, seed: int, person: int, view: int, size: int) -> np.ndarray:
    """Vary pose and light, occlude, blur and add noise; return uint8 [size, size, 3]."""
    rng = np.random.default_rng([seed, _VIEW, person, view])
    middle, scale = _CANVAS / 2, size / _CANVAS
    turn, zoom = np.radians(rng.normal(0, 5)), rng.normal(1, 0.04)
    yaw, shear = rng.uniform(0.8, 1.0), rng.normal(0, 0.04)
    matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = matrix @ np.array([[yaw, shear], [0, 1]]) * scale
    shift = size / 2 - matrix @ [middle, middle] + rng.normal(0, 0.02 * size, 2)
    background = (rng.integers(40, 200) + rng.integers(-15, 16, 3)).tolist()
    face = np.where((face == _GROUND).all(axis=2, keepdims=True), np.array(background, np.uint8), face)
    image = cv2.warpAffine(
        face, np.column_stack([matrix, shift]), (size, size), flags=cv2.INTER_AREA, borderValue=background
    )
    if rng.random() < 0.3:
        _occlude(image, rng)
    image = image.astype(np.float32)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    light = np.cos(angle) * across[None, :] + np.sin(angle) * across[:, None]
    image *= (rng.uniform(0.75, 1.2) * (1 + rng.uniform(0, 0.35) * light))[..., None]
    image *= rng.normal(1, 0.04, 3).astype(np.float32)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.1))
    image += rng.normal(0, rng.uniform(2, 10), image.shape)
    return image.clip(0, 255).astype(np.uint8)


def _occlude(image: np.ndarray, rng: np.random.Generator) -> None:
    """Cover a rectangle of the image with one colour, in place."""
    size = len(image)
    height, width = (rng.uniform(0.12, 0.35, 2) * size).astype(int)
    top, left = rng.integers(0, size - height), rng.integers(0, size - width)
    image[top : top + height, left : left + width] = rng.integers(0, 256, 3)


def show_people(seed: int, people: Sequence[int], views: int, size: int) -> np.ndarray:
    """Return one picture with a row of views for each of ``people``, for inspection."""
    rows = [np.concatenate([draw_face(seed, person, view, size) for view in range(views)], axis=1) for person in people]
    return np.concatenate(rows)
