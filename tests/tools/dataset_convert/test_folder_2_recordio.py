from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import mxnet as mx
import pytest

from data.image import decode_image, encode_jpeg
from data.sources.synthetic import SyntheticSource

SOURCE = SyntheticSource(4, 4, image_size=32)
GBK_NAME = "王芳".encode("gbk")


def face(number: int, suffix: str = ".jpg", size: tuple[int, int] = (32, 32)) -> bytes:
    """Return an encoded picture, width x height."""
    image = cv2.resize(SOURCE.read(number)[0], size)
    return encode_jpeg(image) if suffix == ".jpg" else cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three people, and other files that such folders contain."""
    folder = tmp_path / "photos"
    put(
        folder,
        {
            "zoe/1.jpg": face(0),
            "adam/b.PNG": face(1, ".png"),
            "adam/a.jfif": face(2),
            "adam/side/session 1/c": face(3, ".bmp"),
            f"{os.fsdecode(GBK_NAME)}/x.tif": face(3, ".tif"),
            "adam/Thumbs.db": b"x",
            "adam/._a.jfif": b"\0\5\x16\7",
            ".ipynb_checkpoints/1-checkpoint.jpg": face(0),
            "notes.txt": b"x",
        },
    )
    (folder / "nobody" / "empty").mkdir(parents=True)
    return folder


def read_csv(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as handle:
        return list(csv.reader(handle))


def test_mxnet_reads_what_was_in_the_folders(run_tool: Callable, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "set"
    result = run_tool("folder_2_recordio", input_dir=photos, output_dir=output, image_size=32, ofrecord=1)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{output}: 5 images of 3 people",
        "left out: 2 hidden name: .ipynb_checkpoints, adam/._a.jfif",
        "left out: 1 belongs to no person: notes.txt",
        "left out: 1 not decodable: adam/Thumbs.db (1 bytes that cannot be decoded as an image)",
        f"{output}/rejected.csv lists what was left out",
        f"{output}/sheet.jpg shows a sample; look at it before training",
        "warning: no class for people without an image: nobody",
        f"{output}/ofrecord/train: the same images as OFRecord parts",
    ]
    assert (output / "property").read_text() == "3,32,32\n"
    assert (output / "classes.txt").read_bytes() == b"adam\nzoe\n" + GBK_NAME + b"\n"
    reader = mx.recordio.MXIndexedRecordIO(str(output / "train.idx"), str(output / "train.rec"), "r")
    expected = [("adam/a.jfif", 0), ("adam/b.PNG", 0), ("adam/side/session 1/c", 0), ("zoe/1.jpg", 1)]
    expected.append((f"{os.fsdecode(GBK_NAME)}/x.tif", 2))
    for key, (name, label) in enumerate(expected, start=1):
        header, encoded = mx.recordio.unpack(reader.read_idx(key))
        assert (encoded, header.label) == ((photos / name).read_bytes(), label)
    table = read_csv(output / "images.csv")
    assert [(int(key), row[0], row[1]) for key, *row in table[1:]] == [
        (key, str(label), name) for key, (name, label) in enumerate(expected, start=1)
    ]
    assert sorted(row[:2] for row in read_csv(output / "rejected.csv")[1:]) == [
        [".ipynb_checkpoints", "hidden name"],
        ["adam/._a.jfif", "hidden name"],
        ["adam/Thumbs.db", "not decodable"],
        ["notes.txt", "belongs to no person"],
    ]
    assert cv2.imread(str(output / "sheet.jpg")) is not None
    assert (output / "ofrecord" / "train" / "_SUCCESS").exists()


def test_all_wrong_sizes_are_one_message(run_tool: Callable, photos: Path, tmp_path: Path) -> None:
    put(photos, {"adam/a.jfif": face(2, size=(40, 50)), "zoe/2.jpg": face(1, size=(60, 40))})
    flags = {"input_dir": photos, "output_dir": tmp_path / "set", "image_size": 32}
    result = run_tool("folder_2_recordio", **flags)
    assert result.stderr.splitlines() == [
        f"error: {photos}: 2 of 7 files are not 32x32 pixels; use --align 1 to detect and align the faces, --resize 1 "
        "if they are aligned, or set --image_size: adam/a.jfif (40x50), zoe/2.jpg (60x40)",
        f"error: {photos}: 1 not decodable: adam/Thumbs.db (1 bytes that cannot be decoded as an image)",
    ]
    assert result.returncode == 1 and os.listdir(tmp_path) == ["photos"]
    assert run_tool("folder_2_recordio", **flags, resize=1, min_sharpness=1).stdout.startswith(
        f"{tmp_path}/set: 6 images of 3 people\n"
    )
    reader = mx.recordio.MXRecordIO(str(tmp_path / "set" / "train.rec"), "r")
    sizes = [decode_image(mx.recordio.unpack(reader.read())[1], 32).shape for _ in range(6)]
    assert sizes == [(32, 32, 3)] * 6


def test_all_mistakes_in_the_flags_are_said_at_once(run_tool: Callable, photos: Path, tmp_path: Path) -> None:
    flags = {"align": 1, "resize": 1, "min_size": -1, "num_workers": 0, "detector": "x.onnx"}
    result = run_tool("folder_2_recordio", input_dir=photos, output_dir=photos, **flags)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "error: --align 1 and --resize 1 contradict each other: aligned faces have the right size; omit one",
        "error: --min_size -1 must be at least 0",
        "error: --num_workers 0 must be at least 1",
        f"error: {photos} exists already; remove it or choose another --output_dir",
    ]
    result = run_tool("folder_2_recordio", input_dir=photos, output_dir=photos / "set")
    assert f"--output_dir {photos}/set lies in the folder of photos, {photos}; choose a place outside" in result.stderr
    assert not (photos / "set").exists()
    flags = {"input_dir": photos, "output_dir": tmp_path / "set"}
    assert (
        run_tool("folder_2_recordio", **flags, detector="x.onnx").stderr == "error: --detector x.onnx needs --align 1\n"
    )
    result = run_tool("folder_2_recordio", **flags, align=1, detector="x.onnx")
    assert result.stderr.startswith("error: --detector x.onnx is not a file with a name in .onnx")


def test_a_folder_without_a_usable_photo_says_why(run_tool: Callable, tmp_path: Path) -> None:
    put(tmp_path / "photos", {"a/1.jpg": b"x", "b/2.jpg": b""})
    result = run_tool("folder_2_recordio", input_dir=tmp_path / "photos", output_dir=tmp_path / "set")
    assert result.stderr.splitlines() == [
        f"error: {tmp_path}/photos: none of its 2 files gives an image",
        f"error: {tmp_path}/photos: 2 not decodable: a/1.jpg (1 bytes that cannot be decoded as an image), "
        "b/2.jpg (the image is empty (0 bytes))",
    ]
    assert result.returncode == 1 and not (tmp_path / "set").exists()


def test_one_person_is_suspected_to_be_a_folder_of_people(run_tool: Callable, tmp_path: Path) -> None:
    put(tmp_path / "photos", {"train/adam/1.jpg": face(0), "train/zoe/1.jpg": face(1)})
    result = run_tool("folder_2_recordio", input_dir=tmp_path / "photos", output_dir=tmp_path / "set", image_size=32)
    assert result.stdout.splitlines()[-1] == (
        "warning: all images are of one person, but training compares people; if the subfolders of "
        f"{tmp_path}/photos/train are people, set --input_dir {tmp_path}/photos/train"
    )
    shutil.rmtree(tmp_path / "photos" / "train" / "adam")
    result = run_tool("folder_2_recordio", input_dir=tmp_path / "photos", output_dir=tmp_path / "one", image_size=32)
    assert result.stdout.splitlines()[-1] == "warning: all images are of one person, but training compares people"
    assert (tmp_path / "set" / "classes.txt").read_text() == "train\n"
