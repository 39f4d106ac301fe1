from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import mxnet as mx
import pytest

from common.errors import UserError
from data.image import encode_jpeg
from data.synthetic import SyntheticSource
from tools.dataset_convert.folder_2_recordio import list_people, read_photo

SOURCE = SyntheticSource(4, 4, image_size=32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two people with one and three photos, and other files that such folders contain."""
    folder = tmp_path / "photos"
    files = {"zoe/1.jpg": 0, "adam/b.PNG": 1, "adam/a.jpeg": 2, "adam/c.bmp": 3}
    for name, number in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image = SOURCE.read(number)[0]
        kind = Path(name).suffix.lower()
        encoded = encode_jpeg(image) if kind.startswith(".j") else cv2.imencode(kind, image[..., ::-1])[1].tobytes()
        (folder / name).write_bytes(encoded)
    (folder / "adam" / "Thumbs.db").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    return folder


def test_mxnet_reads_what_was_in_the_folders(run_tool: Callable, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "set"
    result = run_tool("folder_2_recordio", input_dir=photos, output_dir=output, image_size=32)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{output}: 4 images of 2 people, --num_classes 2\n"
    assert (output / "property").read_text() == "2,32,32\n"
    assert (output / "classes.txt").read_text() == "adam\nzoe\n"
    reader = mx.recordio.MXIndexedRecordIO(str(output / "train.idx"), str(output / "train.rec"), "r")
    expected = [("adam/a.jpeg", 0), ("adam/b.PNG", 0), ("adam/c.bmp", 0), ("zoe/1.jpg", 1)]
    for key, (name, label) in enumerate(expected, start=1):
        header, encoded = mx.recordio.unpack(reader.read_idx(key))
        assert (encoded, header.label) == ((photos / name).read_bytes(), label)
    parts = run_tool("mx_recordio_2_ofrecord", data_dir=output, output_filepath=tmp_path / "parts")
    assert "4 images of 2 classes" in parts.stdout


def test_bad_folders_are_one_line(run_tool: Callable, photos: Path, tmp_path: Path) -> None:
    result = run_tool("folder_2_recordio", input_dir=photos, output_dir=tmp_path / "set")
    assert result.stderr == (
        f"error: {photos}/adam/a.jpeg: the image is 32x32 pixels, expected 112x112; "
        "align the faces first, or set --image_size to their size\n"
    )
    assert result.returncode == 1 and not (tmp_path / "set").exists()
    with pytest.raises(UserError, match="absent is not a folder"):
        list_people(tmp_path / "absent")
    with pytest.raises(UserError, match="zoe has no subfolders"):
        list_people(photos / "zoe")
    (photos / "zoe" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot be decoded as an image; replace or remove the file$"):
        read_photo(photos / "zoe" / "1.jpg", 32)
    (photos / "zoe" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"zoe contains no photo \(\.jpg"):
        list_people(photos)
