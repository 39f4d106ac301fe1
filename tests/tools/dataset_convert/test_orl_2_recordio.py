from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
import pytest

from data.image import decode_image
from tools.dataset_convert.orl_2_recordio import choose_pairs, picture_folder


@pytest.fixture(scope="module")
def pictures() -> dict[tuple[int, int], np.ndarray]:
    folder = picture_folder()
    return {
        (person, number): cv2.imread(str(folder / f"s{person}" / f"{number}.pgm"), cv2.IMREAD_GRAYSCALE)
        for person in range(1, 41)
        for number in range(1, 11)
    }


def find_picture(pictures: dict[tuple[int, int], np.ndarray], image: np.ndarray) -> tuple[int, int]:
    """Return (person, number) of the picture an image was made from."""
    thumbnails = np.stack([picture[::6, ::6] for picture in pictures.values()]).astype(int)
    errors = np.abs(thumbnails - image[::6, 10:102:6, 1]).mean(axis=(1, 2))
    assert np.sort(errors)[0] < 3 < np.sort(errors)[1]
    return list(pictures)[int(errors.argmin())]


def test_dataset(run_tool: Callable, tmp_path: Path, pictures: dict[tuple[int, int], np.ndarray]) -> None:
    output = tmp_path / "faces_orl"
    result = run_tool("orl_2_recordio", output_dir=output)
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(path.name for path in output.iterdir()) == ["orl.bin", "property", "train.idx", "train.rec"]
    assert (output / "property").read_text() == "30,112,112\n"

    reader = mx.recordio.MXIndexedRecordIO(str(output / "train.idx"), str(output / "train.rec"), "r")
    assert mx.recordio.unpack(reader.read_idx(0))[0].label.tolist() == [301, 331]
    seen = []
    for key in range(1, 301):
        header, encoded = mx.recordio.unpack(reader.read_idx(key))
        person, number = find_picture(pictures, mx.image.imdecode(encoded).asnumpy())
        assert header.label == person - 1
        seen.append((person, number))
    assert sorted(seen) == [(person, number) for person in range(1, 31) for number in range(1, 11)]

    with open(output / "orl.bin", "rb") as handle:
        bins, issame = pickle.load(handle)
    assert len(bins) == 1800 and len(issame) == 900 and sum(issame) == 450
    names = {encoded: find_picture(pictures, decode_image(encoded)) for encoded in set(bins)}
    assert {person for person, _ in names.values()} == set(range(31, 41))
    pairs = [frozenset(names[encoded] for encoded in bins[i : i + 2]) for i in range(0, 1800, 2)]
    assert len(set(pairs)) == 900 and all(len(pair) == 2 for pair in pairs)
    assert [len({person for person, _ in pair}) == 1 for pair in pairs] == issame

    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    result = run_tool("orl_2_recordio", output_dir=output)
    assert result.returncode == 0 and "complete already" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before


def test_sides_repeat_the_outermost_columns(pictures: dict[tuple[int, int], np.ndarray]) -> None:
    from tools.dataset_convert.orl_2_recordio import read_picture

    image = decode_image(read_picture(picture_folder(), 1, 1)).astype(int)
    expected = np.pad(pictures[1, 1], ((0, 0), (10, 10)), mode="edge")[:, :, None]
    assert np.abs(image - expected).mean() < 2


def test_pairs_are_mixed_and_repeatable() -> None:
    pairs = choose_pairs(range(31, 41))
    assert pairs == choose_pairs(range(31, 41)) and pairs != choose_pairs(range(31, 41), seed=1)
    same = [pair[2] for pair in pairs]
    for fold in np.array_split(same, 10):
        assert 0.2 < np.mean(fold) < 0.8


def test_an_unfinished_folder_is_left_alone(run_tool: Callable, tmp_path: Path) -> None:
    (tmp_path / "property").write_text("mine")
    result = run_tool("orl_2_recordio", output_dir=tmp_path)
    assert result.returncode == 1 and "exists already" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["property"]


def test_the_others_as_photos(run_tool: Callable, tmp_path: Path) -> None:
    from tools.dataset_convert.orl_2_recordio import read_picture

    people = tmp_path / "people"
    assert "100 photos of 10 people" in run_tool("orl_2_recordio", people_dir=people).stdout
    assert sorted(path.name for path in people.iterdir()) == [f"s{person}" for person in range(31, 41)]
    assert len(list(people.rglob("*.jpg"))) == 100
    assert (people / "s40" / "10.jpg").read_bytes() == read_picture(picture_folder(), 40, 10)
    assert "exists already" in run_tool("orl_2_recordio", people_dir=people).stdout
