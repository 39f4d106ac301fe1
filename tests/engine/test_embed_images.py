"""Embeddings of each kind of source, what cannot be used, and work that is taken up after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.image import decode_image, encode_jpeg
from data.image_lists.images import list_images
from data.ofrecord.records import encode_train_record, write_record
from data.photos.align import TEMPLATE, align_face
from data.photos.prepare import PhotoRules
from data.recordio.writer import write_insightface_recordio
from data.rejected import Rejection
from data.sources.synthetic import SyntheticSource
from data.verification.bin_file import write_bin
from data.verification.verification_set import load_verification_set
from engine import embed_images
from engine.embed_images import EmbeddingTask, write_embeddings
from evaluation.embedding_store import EmbeddingStore, read_store
from evaluation.similarity import pair_distances
from evaluation.verification import embed_set, verify_embeddings
from tests.support.embed_program import PIECE, embed, tiny_model
from tests.support.tiny import IMAGE_SIZE

ROOT = Path(__file__).resolve().parents[2]
SOURCE = SyntheticSource(40, 7, IMAGE_SIZE)
FACES = [cv2.imencode(".png", SOURCE.read(i)[0][..., ::-1])[1].tobytes() for i in range(40)]
PIXELS = np.stack([SOURCE.read(i)[0].transpose(2, 0, 1) for i in range(40)])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_images, "PIECE", PIECE)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos of two people."""
    folder = tmp_path / "photos"
    for number in range(12):
        path = folder / f"p{number // 6}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FACES[number])
    return folder


def run(source: Path, target: Path, function: Callable = embed, root: str = "", **flags: Any) -> EmbeddingStore:
    rules = PhotoRules(IMAGE_SIZE, resize=flags.pop("resize", False), min_size=0)
    task = EmbeddingTask(list_images(source, root), rules, **{"batch_size": 2, "num_workers": 2, **flags})
    write_embeddings(target, tiny_model(), function, task)
    assert not target.with_name(f"{target.name}.partial").exists()
    return read_store(target)


def expected(rows: slice | list[int], mirrored: bool = True) -> np.ndarray:
    images = PIXELS[rows]
    return embed(images) + embed(images[..., ::-1]) if mirrored else embed(images)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_folder(photos: Path, tmp_path: Path, mirrored: bool) -> None:
    (photos / "notes.txt").write_text("a text")
    store = run(photos, tmp_path / "a.npz", mirrored=mirrored)
    assert store.names.tolist() == [f"p{number // 6}/{number:02d}.png" for number in range(12)]
    np.testing.assert_allclose(store.embeddings, expected(slice(12), mirrored), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(store.norms, np.linalg.norm(store.embeddings, axis=1), rtol=1e-6)
    about = store.about
    assert (about["mirrored"], about["model_sha256"], about["network"], about["step"]) == (mirrored, "abc", "tiny", 3)
    assert about["preprocessing"] == {"mean": 127.5, "scale": 0.0078125, "inside_network": True}
    assert about["input"]["order"] == "RGB" and about["images"] == 13 and store.labels is None


def test_float16(photos: Path, tmp_path: Path) -> None:
    store = run(photos, tmp_path / "a.npz", dtype="float16")
    assert store.embeddings.dtype == np.float16
    np.testing.assert_array_equal(store.embeddings, run(photos, tmp_path / "b.npz").embeddings.astype(np.float16))
    with pytest.raises(UserError, match=r"p0/00\.png: its embedding and 4 others are too large for float16"):
        run(photos, tmp_path / "c.npz", lambda images: 1e6 * embed(images), dtype="float16")
    with pytest.raises(UserError, match="hold NaN or Inf"):
        run(photos, tmp_path / "d.npz", lambda images: np.nan * embed(images))


def test_no_thread_decodes_once_the_network_has_failed(photos: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(UserError, match="hold NaN or Inf") as raised:  # its traceback holds the faces
        run(photos, tmp_path / "a.npz", lambda images: np.nan * embed(images))
    assert set(threading.enumerate()) <= before
    assert raised.value.__traceback__ is not None


def test_a_rec(tmp_path: Path) -> None:
    labels = sorted(number % 7 for number in range(40))
    write_insightface_recordio(tmp_path, zip(FACES, labels, strict=True), 7, IMAGE_SIZE)
    for source in (tmp_path, tmp_path / "train.rec"):
        store = run(source, tmp_path / f"{source.name}.npz")
        assert store.labels.tolist() == labels and store.names.tolist() == [str(key) for key in range(1, 41)]
        np.testing.assert_allclose(store.embeddings, expected(slice(40)), rtol=1e-5, atol=1e-4)


def test_ofrecord_parts(tmp_path: Path) -> None:
    for part in range(2):
        with open(tmp_path / f"part-0000{part}", "wb") as handle:
            for number in range(10 * part, 10 * part + 10):
                write_record(handle, encode_train_record(FACES[number], number % 7))
    store = run(tmp_path, tmp_path / "a.npz")
    assert store.labels.tolist() == [number % 7 for number in range(20)]
    assert store.names[0] == "part-00000:0" and store.names[10] == "part-00001:0" and len(set(store.names)) == 20
    np.testing.assert_allclose(store.embeddings, expected(slice(20)), rtol=1e-5, atol=1e-4)


def test_a_bin_gives_the_distances_of_the_verification(tmp_path: Path) -> None:
    big = encode_jpeg(cv2.resize(SOURCE.read(30)[0], (40, 40)))  # verification scales it
    issame = [number % 3 == 0 for number in range(20)]
    write_bin(tmp_path / "mine.bin", [*FACES[:38], FACES[0], big], issame)
    seen: list[int] = []

    def counted(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return embed(images)

    store = run(tmp_path / "mine.bin", tmp_path / "a.npz", counted)
    assert sum(seen) == 2 * 39  # equal images are embedded once
    assert store.issame.tolist() == issame and store.names.tolist() == [str(number) for number in range(40)]
    faces = load_verification_set(tmp_path / "mine.bin", "mine", IMAGE_SIZE)
    result = verify_embeddings("mine", *embed_set(embed, faces.images, faces.index, 4), faces.issame)
    distances = pair_distances(store.embeddings[0::2], store.embeddings[1::2])
    np.testing.assert_allclose(distances, result.distances, atol=1e-5)


def test_a_bin_with_a_bad_image_that_occurs_twice(tmp_path: Path) -> None:
    write_bin(tmp_path / "mine.bin", [FACES[0], b"bad", FACES[1], FACES[0], b"bad", FACES[2]], [True, False, True])
    with pytest.raises(UserError, match=r"^1: not decodable \(3 bytes .*\n.*: 1 not decodable; mend them"):
        run(tmp_path / "mine.bin", tmp_path / "a.npz")
    store = run(tmp_path / "mine.bin", tmp_path / "a.npz", skip_bad=True)
    assert store.names.tolist() == ["0", "2", "3", "5"] and store.issame is None
    np.testing.assert_allclose(store.embeddings, expected([0, 1, 0, 2]), rtol=1e-5, atol=1e-4)


def test_a_list_with_and_without_landmarks(photos: Path, tmp_path: Path) -> None:
    points = TEMPLATE * IMAGE_SIZE / 112 + np.float32([[1, 2]]) * np.arange(5)[:, None]
    words = " ".join(f"{value:.3f}" for value in points.ravel())
    lines = ["p0/03.png", f"p1/11.png {words}", f"p 2/a 1.png {words} 0.98", "p1/11.png"]
    (photos / "p 2").mkdir()
    (photos / "p 2" / "a 1.png").write_bytes(FACES[20])
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    store = run(tmp_path / "list.txt", tmp_path / "a.npz", root=str(photos))
    assert store.names.tolist() == ["p0/03.png", "p1/11.png", "p 2/a 1.png", "p1/11.png"] and store.about["landmarks"]
    given = np.array([float(word) for word in words.split()], np.float32).reshape(5, 2)
    aligned = [align_face(decode_image(FACES[number], IMAGE_SIZE), given, IMAGE_SIZE) for number in (11, 20)]
    images = np.stack([PIXELS[3], *(face.transpose(2, 0, 1) for face in aligned), PIXELS[11]])
    np.testing.assert_allclose(store.embeddings, embed(images) + embed(images[..., ::-1]), rtol=1e-5, atol=1e-4)


def test_images_that_cannot_be_used(photos: Path, tmp_path: Path) -> None:
    names = [f"p{number // 6}/{number:02d}.png" for number in range(12)]
    (photos / "p0" / "02.png").write_bytes(b"bad")
    (photos / "p1" / "09.png").unlink()
    (photos / "list.txt").write_text("\n".join(names))
    with pytest.raises(UserError) as caught:
        run(photos / "list.txt", tmp_path / "a.npz")
    first, second, last = str(caught.value).splitlines()
    assert first.startswith("p0/02.png: not decodable (3 bytes") and second.startswith(
        "p1/09.png: not readable (No such"
    )
    assert "1 not decodable, 1 not readable; mend them, or leave them out with --skip_bad 1" in last
    calls: list[int] = []

    def counted(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return embed(images)

    store = run(photos / "list.txt", tmp_path / "a.npz", counted, skip_bad=True)
    assert not calls  # everything was there
    assert store.names.tolist() == [name for name in names if name not in ("p0/02.png", "p1/09.png")]
    kept = [number for number in range(12) if number not in (2, 9)]
    np.testing.assert_allclose(store.embeddings, expected(kept), rtol=1e-5, atol=1e-4)
    with pytest.raises(UserError):
        run(photos / "list.txt", tmp_path / "b.npz")
    (photos / "p0" / "02.png").write_bytes(FACES[2])
    (photos / "p1" / "09.png").write_bytes(FACES[9])
    mended = run(photos / "list.txt", tmp_path / "b.npz", counted)
    assert sum(calls) == 2 * 10  # plain and mirrored, of the two pieces with a bad image
    np.testing.assert_allclose(mended.embeddings, expected(slice(12)), rtol=1e-5, atol=1e-4)


def test_another_size_is_said_before_the_work(photos: Path, tmp_path: Path) -> None:
    (photos / "p0" / "01.png").write_bytes(encode_jpeg(np.zeros((20, 30, 3), np.uint8)))

    def refuse(images: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing is embedded")

    with pytest.raises(UserError, match=r"p0/01\.png: wrong size \(30x20\)\n.*use --align 1 to detect .*--resize 1"):
        run(photos, tmp_path / "a.npz", refuse)
    assert len(run(photos, tmp_path / "b.npz", resize=True)) == 12


def test_a_folder_without_any_face(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    with pytest.raises(UserError, match="none of its 1 image can be used"):
        run(tmp_path / "texts", tmp_path / "a.npz")
    with pytest.raises(UserError, match="absent does not exist; give a folder of photos, a list, a .rec or a .bin"):
        list_images(tmp_path / "absent")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(UserError, match=r"empty\.txt contains no images"):
        list_images(tmp_path / "empty.txt")


def test_names_in_another_encoding(tmp_path: Path) -> None:
    name = os.fsdecode("王芳".encode("gbk"))
    (tmp_path / "photos" / name).mkdir(parents=True)
    (tmp_path / "photos" / name / "1.png").write_bytes(FACES[0])
    assert run(tmp_path / "photos", tmp_path / "a.npz").names.tolist() == [f"{name}/1.png"]
    (tmp_path / "list.txt").write_bytes(os.fsencode(f"photos/{name}/1.png\n"))
    assert run(tmp_path / "list.txt", tmp_path / "b.npz").names.tolist() == [f"photos/{name}/1.png"]


def test_a_killed_command_is_taken_up(photos: Path, tmp_path: Path) -> None:
    """SIGKILL after the first piece; then only the rest is embedded, and the file equals that of a run without it."""
    target, program = tmp_path / "a.npz", ROOT / "tests" / "support" / "embed_program.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(program), str(photos), str(target)], env=environment)
    try:
        end = time.monotonic() + 60
        while not list(tmp_path.glob("a.npz.partial/0*.npz")) and time.monotonic() < end:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    done = len(list(tmp_path.glob("a.npz.partial/0*.npz")))
    assert 1 <= done < 3 and not target.exists()
    seen: list[int] = []

    def counted(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return embed(images)

    run(photos, target, counted)
    assert sum(seen) == 2 * (12 - PIECE * done)
    run(photos, tmp_path / "whole.npz")
    assert target.read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_what_was_left_out_is_returned(photos: Path, tmp_path: Path) -> None:
    (photos / "p0" / "02.png").write_bytes(b"")
    task = EmbeddingTask(list_images(photos), PhotoRules(IMAGE_SIZE))
    rejections = write_embeddings(tmp_path / "a.npz", tiny_model(), embed, task)
    assert rejections == [Rejection("p0/02.png", "not decodable", "the image is empty (0 bytes)")]
