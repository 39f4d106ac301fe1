from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.image import encode_jpeg
from data.ofrecord.records import encode_verification_record, write_record
from data.verification.bin_file import write_bin
from data.verification.verification_set import survey_set
from engine.verification_sets import check_verification
from settings.places import check_sets
from settings.train_command import read_train_command
from settings.verification_places import describe_others

FACE = encode_jpeg(np.zeros((16, 16, 3), np.uint8))


def config(folder: Path, *targets: str) -> dict:
    sets = {"val_targets": list(targets), "val_dataset_dir": str(folder), "val_data_part_num": 0}
    return {**sets, "nrof_folds": 10, "image_size": 16}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder (with a blank in its name) of the sets ``ten`` of 10 pairs, ``five``, ``parts`` of 10 and ``broken``."""
    folder = tmp_path / "own data"
    folder.mkdir()
    write_bin(folder / "ten.bin", [FACE] * 20, [True, False] * 5)
    write_bin(folder / "five.bin", [FACE] * 10, [True] * 5)
    (folder / "broken.bin").write_bytes(b"no pickle")
    (folder / "parts").mkdir()
    with open(folder / "parts" / "part-0", "wb") as handle:
        for _ in range(20):
            write_record(handle, encode_verification_record(FACE, True))
    return folder


def test_what_a_set_holds(folder: Path) -> None:
    found = [survey_set(folder / place, name) for place, name in (("ten.bin", "ten"), ("", "five"), ("parts", "parts"))]
    assert found == [(10, 5, {(16, 16): 16}), (5, 5, {(16, 16): 10}), (10, 10, {(16, 16): 16})]


def test_all_sets_that_cannot_be_verified_are_listed(folder: Path) -> None:
    check_verification(config(folder, "ten", "parts"))
    with pytest.raises(UserError) as caught:
        check_verification(config(folder, "ten", "five", "broken", "parts"))
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{folder / 'five.bin'}: only 5 pairs for 10 folds; use more pairs or a smaller --nrof_folds"
    assert len(lines) == 2 and lines[1].startswith(f"{folder / 'broken.bin'}: ")
    check_verification({**config(folder, "five"), "nrof_folds": 5})


def test_sets_whose_results_mean_something_else(folder: Path) -> None:
    assert check_verification(config(folder, "ten")) == []
    assert check_verification(config(folder, "parts")) == [
        f"{folder / 'parts'}: none of the 10 pairs is of two people: its accuracy and thresholds mean nothing"
    ]
    large = encode_jpeg(np.zeros((20, 20, 3), np.uint8))
    write_bin(folder / "large.bin", [large, FACE] * 9 + [b"not an image"] * 2, [False] * 10)
    size, kind = check_verification(config(folder, "large"))
    assert size.startswith(f"{folder / 'large.bin'}: images of 20x20 pixels are scaled to 16x16, as InsightFace does; ")
    assert "none of the 10 pairs is of one person" in kind


def test_all_missing_sets_are_listed(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_sets(config(folder, "ten", "here", "there"))
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        f"verification set '{name}' is not at {folder / name}" for name in ("here", "there")
    ]
    (folder / "broken.bin").unlink()
    with pytest.raises(UserError, match=r"; --val_targets may name five, parts, ten$"):
        check_sets(config(folder, "nothing"))


def test_a_name_that_is_almost_right_gets_a_hint(folder: Path) -> None:
    with pytest.raises(UserError, match=r"verification set 'FIVE' is not at .*; did you mean 'five'\?$"):
        check_sets(config(folder, "FIVE"))
    with pytest.raises(UserError, match=".ten five. is not .*; commas separate the sets: .* ten,five$"):
        check_sets(config(folder, "ten five"))


def test_sets_that_lie_beside_are_mentioned_unless_the_sets_were_chosen(folder: Path) -> None:
    argv = ["--dataset", "orl", "--val_dataset_dir", str(folder)]
    (folder / "broken.bin").unlink()
    assert read_train_command([*argv, "--do_validation_while_train", "0"]).notices == ()
    assert read_train_command([*argv, "--val_targets", "ten"]).notices == ()
    assert read_train_command(argv).notices == (
        f"{folder} also has five, parts, ten, not verified; --val_targets chooses",
    )
    assert describe_others(str(folder), ["five", "parts", "ten"]) == describe_others("", []) == []
