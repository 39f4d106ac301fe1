"""The file of embeddings: what goes in comes out, numpy reads it, and damage is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from evaluation.embedding_store import describe, different_work, read_store, write_store
from evaluation.partial_embeddings import PartialEmbeddings, Piece
from tests.support.commands import ROOT
from tests.support.zip_files import mark_encrypted

NAMES = ["anna/1.jpg", "jörg/2.jpg", os.fsdecode(b"\xc0\xee/3.jpg"), "王芳/4.png"]
ROWS = np.random.default_rng(0).normal(0, 5, (4, 8)).astype(np.float32)


def about(**changes: Any) -> dict[str, Any]:
    model = {"model": "m", "model_sha256": "1", "emb_size": 8}
    facts = describe(model, {"source": "s", "source_sha256": "2", "images": 4}, {"resized": False}, True, "float32")
    return {**facts, **changes}


def write(path: Path, dtype: str = "float32", **more: Any) -> None:
    rows = ROWS.astype(dtype)
    write_store(path, [rows[:3], rows[3:]], np.linalg.norm(ROWS, axis=1), NAMES, about(dtype=dtype), **more)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_goes_in_comes_out(tmp_path: Path, dtype: str) -> None:
    write(tmp_path / "a.npz", dtype, labels=np.array([2, 2, 0, 1]), issame=np.array([True, False]))
    store = read_store(tmp_path / "a.npz")
    assert len(store) == 4 and store.embeddings.dtype == dtype and store.norms.dtype == np.float32
    np.testing.assert_array_equal(store.embeddings, ROWS.astype(dtype))
    np.testing.assert_allclose(store.norms, np.linalg.norm(ROWS.astype(np.float64), axis=1), rtol=1e-6)
    assert store.names.tolist() == NAMES and store.about == about(dtype=dtype)
    assert store.labels.tolist() == [2, 2, 0, 1] and store.issame.tolist() == [True, False]
    assert isinstance(store.embeddings, np.memmap) and store.embeddings.flags.aligned
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(file["embeddings"], ROWS.astype(dtype))
        assert json.loads(str(file["about"]))["mirrored"] is True
    write(tmp_path / "b.npz", dtype, labels=np.array([2, 2, 0, 1]), issame=np.array([True, False]))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_optional_arrays_and_files_that_numpy_wrote(tmp_path: Path) -> None:
    write(tmp_path / "a.npz")
    store = read_store(tmp_path / "a.npz")
    assert store.labels is None and store.issame is None
    with np.load(tmp_path / "a.npz") as file:
        np.savez_compressed(tmp_path / "b.npz", **file)
    np.testing.assert_array_equal(read_store(tmp_path / "b.npz").embeddings, ROWS)


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    write(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"", b"text", whole[:-30], whole[:200], whole[:100] + bytes(100) + whole[200:-200]):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"b\.npz is damaged or not a file of embeddings"):
            read_store(tmp_path / "b.npz")
    mark_encrypted(tmp_path / "a.npz", "norms.npy")
    with pytest.raises(
        UserError, match=r"a\.npz is damaged or not a file of embeddings \(File 'norms.npy' is encrypted"
    ):
        read_store(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(whole)
    np.savez(tmp_path / "c.npz", embeddings=ROWS)
    with pytest.raises(UserError, match=r"c\.npz has no norms, names, about; expected a file of tools/embed\.py"):
        read_store(tmp_path / "c.npz")
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "d.npz", **{**arrays, "about": np.array(json.dumps(about(version=9)))})
    with pytest.raises(UserError, match="d.npz is not of format 'face embeddings', version 1"):
        read_store(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", **{**arrays, "names": arrays["names"][:2]})
    with pytest.raises(UserError, match=r"e\.npz: \(4, 8\) embeddings for 2 names"):
        read_store(tmp_path / "e.npz")
    np.savez(tmp_path / "f.npz", **{**arrays, "names": np.array([object()])})
    with pytest.raises(UserError, match=r"f\.npz is damaged or not a file of embeddings"):
        read_store(tmp_path / "f.npz")
    with pytest.raises(UserError, match=r"absent is not a file; write embeddings with tools/embed\.py"):
        read_store(tmp_path / "absent")


def test_nothing_stays_of_a_file_that_cannot_be_completed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 rows, expected 4"):
        write_store(tmp_path / "a.npz", [ROWS[:3]], np.ones(4), NAMES, about())
    with pytest.raises(ValueError, match="float64"):
        write_store(tmp_path / "a.npz", [ROWS.astype(float)], np.ones(4), NAMES, about())
    assert list(tmp_path.iterdir()) == []


def test_paths_do_not_make_another_work() -> None:
    assert different_work(about(), about(model="elsewhere", source="there")) == []
    assert different_work(about(), about(model_sha256="3", mirrored=False)) == ["mirrored", "model_sha256"]


def piece(start: int, stop: int, rejected: tuple = ()) -> Piece:
    return Piece(start, stop, np.arange(start, stop - len(rejected)), ROWS[: stop - start], np.ones(1), rejected)


def test_pieces_are_taken_up(tmp_path: Path) -> None:
    partial = PartialEmbeddings(tmp_path / "a.npz", about())
    assert list(partial.missing(10, 4)) == [(0, 4), (4, 8), (8, 10)]
    partial.add(piece(4, 8, ((7, "no face", ""),)))
    partial.add(piece(0, 4))
    partial = PartialEmbeddings(tmp_path / "a.npz", about(model="elsewhere"))
    assert list(partial.missing(10, 4)) == [(8, 10)]
    assert [(each.start, each.stop, each.rejected) for each in partial.read()] == [
        (0, 4, []),
        (4, 8, [(7, "no face", "")]),
    ]
    partial.drop_rejected()
    assert list(partial.missing(10, 3)) == [(4, 7), (7, 10)]
    with pytest.raises(UserError, match=r"a\.npz\.partial holds unfinished work with another mirrored; remove it"):
        PartialEmbeddings(tmp_path / "a.npz", about(mirrored=False))
    (path,) = tmp_path.glob("a.npz.partial/*.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"000000-0+4\.npz is damaged .*; remove it and embed again"):
        list(partial.read())
    partial.remove()
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from common.errors import run_command
from evaluation.partial_embeddings import PartialEmbeddings, Piece
def main():
    partial = PartialEmbeddings(Path(sys.argv[1]), {"model": "m"})
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    rows = np.ones((100, 512), np.float32)
    partial.add(Piece(0, 100, np.arange(100), rows, rows[:, 0]))
run_command(main)
"""


def test_a_piece_that_does_not_fit_the_disk_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "a.npz")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and len(ended.stderr.splitlines()) == 1, ended.stderr
    assert ended.stderr.startswith(f"error: {tmp_path / 'a.npz.partial'}/") and "cannot be written" in ended.stderr
    assert os.listdir(tmp_path / "a.npz.partial") == ["about.json"]
