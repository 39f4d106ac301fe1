from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.image import decode_image, encode_jpeg
from data.photos.photo import Fault, resize_photo, sharpness
from data.photos.prepare import PhotoRules, prepare_photo
from data.sources.synthetic import SyntheticSource

FACE = SyntheticSource(1, 1, image_size=64).read(0)[0]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return tmp_path / "photo"


def test_a_photo_of_the_right_size_is_stored_unchanged(photo: Path) -> None:
    for suffix in (".jpg", ".png", ".tif", ".webp", ".bmp"):
        photo.write_bytes(cv2.imencode(suffix, FACE)[1].tobytes())
        for rules in (PhotoRules(64), PhotoRules(64, resize=True)):
            assert prepare_photo(photo, rules).encoded == photo.read_bytes()


def test_another_size_is_a_fault_or_scaled(photo: Path) -> None:
    wide = np.concatenate([np.zeros_like(FACE[:, :16]), FACE, np.zeros_like(FACE[:, :16])], axis=1)
    photo.write_bytes(cv2.imencode(".png", wide[..., ::-1])[1].tobytes())
    assert prepare_photo(photo, PhotoRules(64)).fault == Fault("wrong size", "96x64")
    scaled = prepare_photo(photo, PhotoRules(32, resize=True))
    expected = cv2.resize(FACE, (32, 32), interpolation=cv2.INTER_AREA)
    assert scaled.fault is None and scaled.encoded == encode_jpeg(expected)
    assert prepare_photo(photo, PhotoRules(32, resize=True, min_size=65)).fault == Fault("too small", "96x64 pixels")
    assert resize_photo(FACE, 128).shape == (128, 128, 3)


def test_scaling_turns_a_photo_upright(photo: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the upper side of the scene is the right side of the stored picture
    stored = io.BytesIO()
    Image.fromarray(np.rot90(FACE)).save(stored, "PNG", exif=exif)
    photo.write_bytes(stored.getvalue())
    turned = decode_image(prepare_photo(photo, PhotoRules(64, resize=True)).encoded, 64)
    assert np.array_equal(turned, decode_image(encode_jpeg(FACE), 64))
    assert prepare_photo(photo, PhotoRules(64)).encoded == stored.getvalue()  # training does not turn it either


def test_blurred_and_unreadable_files_are_faults(photo: Path) -> None:
    assert prepare_photo(photo, PhotoRules(64)).fault == Fault("not readable", "No such file or directory")
    for content in (b"", b"text", b"\xff\xd8\xff" + bytes(200)):
        photo.write_bytes(content)
        for rules in (PhotoRules(64), PhotoRules(64, resize=True)):
            assert prepare_photo(photo, rules).fault.reason == "not decodable"
    with open(photo, "wb") as file:
        file.truncate(1 << 30)  # a hole, which takes no space
    assert prepare_photo(photo, PhotoRules(64)).fault == Fault("not decodable", f"{1 << 30} bytes are not a photo")
    sharp, soft = FACE, cv2.GaussianBlur(FACE, (0, 0), 3)
    grey = cv2.cvtColor(sharp, cv2.COLOR_RGB2GRAY).astype(np.float64)
    edges = np.pad(grey, 1, "reflect")
    laplacian = edges[:-2, 1:-1] + edges[2:, 1:-1] + edges[1:-1, :-2] + edges[1:-1, 2:] - 4 * grey
    assert sharpness(sharp) == pytest.approx(laplacian.var()) and sharpness(sharp) > 2 * sharpness(soft)
    photo.write_bytes(cv2.imencode(".png", soft)[1].tobytes())
    assert prepare_photo(photo, PhotoRules(64, min_sharpness=1e4)).fault.reason == "blurred"
    assert prepare_photo(photo, PhotoRules(64)).fault is None
