"""Stored embeddings in the order of the list, whatever order they were stored in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from evaluation.embedding_store import describe, write_store
from evaluation.templates.features import read_features
from evaluation.templates.modes import Mode

NAMES = [f"{number}.jpg" for number in range(6)]
ROWS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def store(path: Path, order: list[int], mirrored: bool, model: str = "a", rows: np.ndarray = ROWS) -> Path:
    facts = {"model": model, "model_sha256": model * 8, "emb_size": rows.shape[1]}
    images = {"source": "list", "source_sha256": "", "images": len(order), "landmarks": True}
    about = describe(facts, images, {"detector": None, "resized": False}, mirrored, "float32")
    write_store(path, [rows[order]], np.ones(len(order)), [NAMES[number] for number in order], about)
    return path


def test_another_order_and_more_images(tmp_path: Path) -> None:
    path = store(tmp_path / "a.npz", [3, 1, 5, 0, 2, 4], mirrored=True)
    found = read_features([path], NAMES[:4])
    assert np.array_equal(found.of(Mode()), ROWS[:4]) and found.about["model"] == "a"


def test_side_by_side_from_the_sum_and_the_image_alone(tmp_path: Path) -> None:
    mirrored = ROWS[::-1]
    paths = (
        store(tmp_path / "sum.npz", list(range(6)), True, rows=ROWS + mirrored),
        store(tmp_path / "alone.npz", list(range(6)), False),
    )
    found = read_features(paths, NAMES)
    found.require_for([Mode(flip=0), Mode(flip=1), Mode(flip=2)])
    assert np.array_equal(found.of(Mode(flip=0)), ROWS)
    np.testing.assert_allclose(found.of(Mode(flip=1)), np.concatenate([ROWS, mirrored], axis=1), atol=1e-6)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    part = store(tmp_path / "part.npz", [0, 1, 2], mirrored=True)
    with pytest.raises(UserError, match=r"part\.npz has no embedding of 3\.jpg and 2 other images of the list"):
        read_features([part], NAMES)
    whole = store(tmp_path / "whole.npz", list(range(6)), mirrored=True)
    other = store(tmp_path / "other.npz", list(range(6)), mirrored=False, model="b")
    with pytest.raises(UserError, match=r"other\.npz is of another model than .*whole\.npz; give files of one model"):
        read_features([whole, other], NAMES)
    wide = store(tmp_path / "wide.npz", list(range(6)), mirrored=False, rows=np.tile(ROWS, 2))
    with pytest.raises(UserError, match="embeddings of 4 and 8 numbers; they must be of one model"):
        read_features([whole, wide], NAMES)
    with pytest.raises(
        UserError, match="mode N1D1F0 takes embeddings of tools/embed.py --flip 0\nmode N1D1F1 takes two"
    ):
        read_features([whole], NAMES).require_for([Mode(), Mode(flip=0), Mode(flip=1)])
