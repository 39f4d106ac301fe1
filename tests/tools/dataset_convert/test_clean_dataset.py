"""clean_dataset.py, and merge_datasets.py with a model, on sets whose wrong labels are known."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import add_image_input
from backbones.networks.options import NetworkOptions
from data.image import decode_image, image_shape
from data.listing import open_listing
from evaluation.embedding_store import describe, write_store
from interchange.onnx.writer import write_onnx
from snapshots.label_map import read_label_map
from tests.support.record_sets import Face, run_here, write_part, write_records

CLEAN, MERGE = "tools/dataset_convert/clean_dataset.py", "tools/dataset_convert/merge_datasets.py"
SIZE = 16
PEOPLE = 5


class PixelEmbedder:
    """Multiplies pixels with random numbers: alike images have alike embeddings, others do not."""

    batch_size, image_size = 8, SIZE

    def __init__(self) -> None:
        self.weight = np.random.default_rng(0).normal(size=(3 * SIZE * SIZE, 64)).astype(np.float32)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return (images.reshape(len(images), -1) - np.float32(127.5)) @ self.weight


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("engine.embedder.Embedder.open", lambda *_: PixelEmbedder())
    return "pixels.onnx"


def faces_of(person: int, count: int) -> list[bytes]:
    """PNGs of a random pattern with some noise, which is new for each call's ``count``."""
    pattern = np.random.default_rng(person).integers(40, 215, (SIZE, SIZE, 3))
    generator = np.random.default_rng((person, count))
    noisy = pattern + generator.integers(-20, 21, (count, *pattern.shape))
    return [cv2.imencode(".png", image.astype(np.uint8))[1].tobytes() for image in noisy]


def clean_faces() -> list[Face]:
    return [(encoded, person) for person in range(PEOPLE) for encoded in faces_of(person, 6)]


def read_all(path: Path) -> list[Face]:
    listing = open_listing(path)
    return [(found.encoded, found.label) for found in listing.read(np.arange(len(listing)))]


@pytest.fixture
def noisy(tmp_path: Path) -> tuple[Path, list[Face]]:
    """Images 2 and 20 show another person, and class 5 is person 1 again."""
    faces = clean_faces()
    faces[2], faces[20] = (faces_of(3, 7)[0], 0), (faces_of(8, 1)[0], 3)
    faces += [(encoded, 5) for encoded in faces_of(1, 4)]
    write_records(tmp_path / "set", faces, f"6,{SIZE},{SIZE}")
    return tmp_path / "set", faces


def test_wrong_images_and_a_person_under_two_numbers_are_found(
    tmp_path: Path, noisy: tuple[Path, list[Face]], model: str
) -> None:
    path, faces = noisy
    flags = ("--model", model, "--list", tmp_path / "list", "--output", tmp_path / "out", "--num_workers", 1)
    code, out, _ = run_here(CLEAN, path, *flags)
    assert code == 0
    assert "2 of 34 images to drop, 1 pair of classes to join" in out
    assert "32 images of 5 people, --num_classes 5" in out
    dropped = list(csv.DictReader((tmp_path / "list" / "drop.csv").open()))
    assert sorted(int(row["image"]) for row in dropped) == [2, 20]
    assert all(float(row["angle"]) > 75 for row in dropped)
    (same,) = csv.DictReader((tmp_path / "list" / "same_people.csv").open())
    assert (same["class_1"], same["class_2"]) == ("1", "5")
    assert image_shape((tmp_path / "list" / "sheet.jpg").read_bytes())[0] > 200
    expected = [(e, 1 if label == 5 else label) for n, (e, label) in enumerate(faces) if n not in (2, 20)]
    assert Counter(read_all(tmp_path / "out")) == Counter(expected)
    assert read_label_map(tmp_path / "out" / "label_map.txt").old.tolist() == [0, 1, 2, 3, 4]
    assert len(list(csv.reader((tmp_path / "out" / "rejected.csv").open()))) == 3


def test_lines_taken_out_of_the_lists_are_not_applied(
    tmp_path: Path, noisy: tuple[Path, list[Face]], model: str
) -> None:
    path, _ = noisy
    lists = tmp_path / "list"
    assert run_here(CLEAN, path, "--model", model, "--list", lists, "--num_workers", 1)[0] == 0
    lines = (lists / "drop.csv").read_text().splitlines()
    (lists / "drop.csv").write_text("\n".join([lines[0], *(line for line in lines[1:] if line.startswith("20,"))]))
    (lists / "same_people.csv").write_text((lists / "same_people.csv").read_text().splitlines()[0])
    code, out, _ = run_here(CLEAN, path, "--list", lists, "--output", tmp_path / "out")
    assert code == 0
    assert "33 images of 6 people" in out
    write_records(tmp_path / "other", clean_faces()[1:], f"5,{SIZE},{SIZE}")
    code, _, err = run_here(CLEAN, tmp_path / "other", "--list", lists, "--output", tmp_path / "out2")
    assert code == 1
    assert "is the list of another set" in err


def test_photos_of_one_person_in_two_folders_come_together(tmp_path: Path, model: str) -> None:
    for person, folder in ((1, "anna"), (2, "bert"), (1, "carl")):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for number, encoded in enumerate(faces_of(person, 3 + len(folder) - (folder == "anna"))):
            (tmp_path / "photos" / folder / f"{number}.png").write_bytes(encoded)
    flags = ("--model", model, "--list", tmp_path / "list", "--output", tmp_path / "out", "--num_workers", 1)
    assert run_here(CLEAN, tmp_path / "photos", *flags)[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["anna", "bert"]
    before, after = (
        sorted(path.read_bytes() for path in (tmp_path / name).rglob("*.png")) for name in ("photos", "out")
    )
    assert before == after
    assert (tmp_path / "out.label_map.txt").is_file()


def test_people_of_two_sets_are_found_by_a_model(tmp_path: Path, model: str) -> None:
    write_records(tmp_path / "a", clean_faces(), f"{PEOPLE},{SIZE},{SIZE}")
    others = [(encoded, label) for label, person in enumerate((9, 3, 0)) for encoded in faces_of(person, 3)]
    write_part(tmp_path / "b", others)
    flags = ("--model", model, "--list", tmp_path / "same", "--output", tmp_path / "c", "--num_workers", 1)
    code, out, _ = run_here(MERGE, tmp_path / "a", tmp_path / "b", *flags)
    assert code == 0
    assert "2 pairs of people with a cosine above 0.5" in out
    assert "39 images of 6 people" in out
    rows = csv.DictReader((tmp_path / "same" / "same_people.csv").open())
    assert {(row["class_1"], row["class_2"]) for row in rows} == {("3", "1"), ("0", "2")}
    expected = clean_faces() + [(encoded, {0: 5, 1: 3, 2: 0}[label]) for encoded, label in others]
    assert Counter(read_all(tmp_path / "c")) == Counter(expected)


def test_images_that_cannot_be_embedded_are_named(tmp_path: Path, model: str) -> None:
    faces = clean_faces()
    faces[3] = (b"not a picture", 0)
    write_records(tmp_path / "set", faces, f"{PEOPLE},{SIZE},{SIZE}")
    code, _, err = run_here(CLEAN, tmp_path / "set", "--model", model, "--list", tmp_path / "l", "--num_workers", 1)
    assert code == 1
    assert "key 3 at byte" in err
    assert "check_dataset.py" in err
    assert not (tmp_path / "l").exists()


def test_embeddings_may_come_from_a_file(tmp_path: Path, noisy: tuple[Path, list[Face]]) -> None:
    path, faces = noisy
    images = np.stack([decode_image(encoded, SIZE).transpose(2, 0, 1) for encoded, _ in faces])
    rows, labels = PixelEmbedder()(images), np.array([label for _, label in faces])
    about = describe({"emb_size": 64}, {"source": "set"}, {}, False, "float32")
    for name, count in (("all", len(faces)), ("some", 10)):
        names, norms = [str(key) for key in range(count)], np.linalg.norm(rows[:count], axis=1)
        write_store(tmp_path / f"{name}.npz", [rows[:count]], norms, names, about, labels[:count])
    code, out, _ = run_here(CLEAN, path, "--embeddings", tmp_path / "all.npz", "--list", tmp_path / "list")
    assert code == 0
    assert "2 of 34 images to drop, 1 pair of classes to join" in out
    code, _, err = run_here(CLEAN, path, "--embeddings", tmp_path / "some.npz", "--list", tmp_path / "list2")
    assert code == 1
    assert "holds 10 embeddings of set, which are not those of the 34 images" in err


@pytest.mark.slow  # opening a model takes several seconds
def test_a_real_network_embeds_a_set(tmp_path: Path, noisy: tuple[Path, list[Face]]) -> None:
    graph = NetworkGraph()
    x = graph.flatten(add_image_input(graph, NetworkOptions("tiny", image_size=SIZE)), "flatten0")
    graph.fully_connected(x, "fc1", 64)
    arrays = {
        name: np.zeros(spec.shape, np.float32) for name, spec in graph.parameters().items() if name != "fc1_weight"
    }
    arrays["fc1_weight"] = np.ascontiguousarray(PixelEmbedder().weight.T)
    model = tmp_path / "pixels.onnx"
    model.write_bytes(write_onnx(graph, arrays, {}).SerializeToString())
    code, out, _ = run_here(CLEAN, noisy[0], "--model", model, "--list", tmp_path / "list")
    assert code == 0
    assert "2 of 34 images to drop, 1 pair of classes to join" in out


def test_a_set_of_one_person_is_not_written(tmp_path: Path, model: str, noisy: tuple[Path, list[Face]]) -> None:
    flags = ("--list", tmp_path / "list", "--model", model, "--same_above", -1, "--output", tmp_path / "out")
    code, _, err = run_here(CLEAN, noisy[0], "--num_workers", 1, *flags)
    assert code == 1 and "the list makes one person of all; use a larger --same_above" in err
    assert not (tmp_path / "out").exists()
