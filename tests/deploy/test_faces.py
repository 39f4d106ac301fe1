"""The faces on which results are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from deploy.faces import load_faces, load_sample
from tests.support.deployed import write_faces, write_pairs


def test_a_choice_depends_on_the_seed_alone(tmp_path: Path) -> None:
    folder = str(write_faces(tmp_path / "faces"))
    first, again, other = (load_sample(folder, 112, 5, seed, "--calibration") for seed in (0, 0, 1))
    assert first.shape == (5, 3, 112, 112) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert len(load_sample(folder, 112, 99, 0, "--calibration")) == 12


def test_pairs_have_labels_and_a_folder_has_none(tmp_path: Path) -> None:
    pairs = load_faces(str(write_pairs(tmp_path / "pairs.bin")), 112, 200)
    assert len(pairs.issame) == 20 and len(pairs.index) == 40
    faces = load_faces(str(write_faces(tmp_path / "faces")), 112, 10)
    assert len(faces.images) == 10 and faces.issame is None


def test_orl_is_the_set_of_the_demo_even_beside_a_folder_of_this_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces(tmp_path / "orl")
    with pytest.raises(UserError, match=r"--pairs orl: datasets/faces_orl/orl\.bin is not there; make it with"):
        load_faces("orl", 112, 10)
    (tmp_path / "datasets" / "faces_orl").mkdir(parents=True)
    write_pairs(tmp_path / "datasets" / "faces_orl" / "orl.bin")
    assert len(load_faces("orl", 112, 10).issame) == 20
    assert load_faces("./orl", 112, 10).issame is None


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"few\.bin has 4 pairs; 10 are needed"):
        load_faces(str(write_pairs(tmp_path / "few.bin", 4)), 112, 10)
