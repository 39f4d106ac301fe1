"""What is missing or damaged in the sets of ``val_protocols`` is said before step 1, a line each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UserError
from engine.protocols import check
from engine.verification_sets import check_evaluation
from tests.support.protocol_sets import ALL, write_sets
from tests.support.tiny import IMAGE_SIZE


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_sets(folder, IMAGE_SIZE)
    return folder


@pytest.fixture(autouse=True)
def inside(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the sets."""
    shutil.copytree(sets, tmp_path / "sets")
    monkeypatch.chdir(tmp_path / "sets")


def config(protocols: str = ALL, **changes: object) -> dict:
    values = {"val_protocols": protocols.split(","), "val_targets": ["pairs"], "val_dataset_dir": "."}
    return {**values, "val_data_part_num": 0, "nrof_folds": 5, "image_size": IMAGE_SIZE, **changes}


def test_good_sets() -> None:
    (notice,) = check_evaluation(config())
    assert notice.startswith("val_protocols embeds ") and notice.endswith("at each verification")
    assert check_evaluation({**config(), "val_protocols": []}) == []


def test_everything_is_said_at_once() -> None:
    Path("pairs.bin").write_bytes(b"no pickle")
    shutil.copy("IJBC/loose_crop/1.jpg", "own/probes/person 2/2.png")
    Path("mega/megaface_lst").unlink()
    Path("mega/facescrub_lst").write_text("alone.png\n")
    Path("IJBC/meta/ijbc_template_pair_label.txt").write_text("1 2\n")
    Path("IJBC/meta/ijbc_1N_probe_mixed.csv").unlink()
    Path("groups.txt").write_text("0 young\n")
    with pytest.raises(UserError) as caught:
        check_evaluation(config())
    text = str(caught.value)
    for words in (
        "pairs.bin: ",
        "--val_protocols megaface:mega: facescrub_lst: image 1, alone.png, has 1 part; expected at least 2",
        "--val_protocols megaface:mega: mega/megaface_lst does not exist",
        "--val_protocols ijb:IJBC: IJBC/meta/ijbc_template_pair_label.txt line 1: '1 2' is not 3 whole numbers",
        "--val_protocols ijb:IJBC: IJBC/meta/ijbc_1N_probe_mixed.csv cannot be read",
        "--val_protocols identify:own: person 2/2.png of own/probes: wrong size (112x112)",
        "--val_protocols identify:own: 1 image cannot be used; mend or remove them; images must be aligned and of",
    ):
        assert words in text
    assert len(text.splitlines()) == 7


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda: shutil.rmtree("own/probes"), "own/gallery is there and own/probes is not; expected both, or"),
        (lambda: [shutil.move(f"own/{name}", ".") for name in ("gallery", "probes")], "own contains no photo"),
        (lambda: Path("mega/megaface_images/1/1@N01/1_0.png").unlink(), "1/1@N01/1_0.png of mega/megaface_lst: not re"),
        (lambda: Path("mega/facescrub_noises.txt").write_text("x.png"), "none of its 1 image is in the list"),
        (lambda: Path("mega/facescrub_lst").write_text("P_1/P_1_1.png\n"), "no person of facescrub_lst has two"),
        (lambda: Path("IJBC/loose_crop/3.jpg").write_bytes(b"\xff\xd8"), "3.jpg of .*: not decodable"),
        (lambda: shutil.rmtree("IJBC/meta"), "ijb:IJBC: IJBC has no meta/ijbb_face_tid_mid.txt"),
        (lambda: Path("groups.txt").write_text("0 young"), "no group for 79 of 80 images"),
        (lambda: Path("groups.txt").unlink(), "groups:groups.txt: --groups groups.txt cannot be read"),
    ],
)
def test_damage(damage: Callable, message: str) -> None:
    damage()
    with pytest.raises(UserError, match=message):
        check_evaluation(config())


def test_faces_of_another_size() -> None:
    with pytest.raises(UserError, match=r"wrong size \(16x16\)") as caught:
        check_evaluation(config("identify:own", image_size=20))
    last = str(caught.value).splitlines()[-1]
    assert last.endswith("mend or remove them; images must be aligned and of 20x20 pixels")


def test_sets_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MOST_IMAGES", 100)
    with pytest.raises(UserError, match="85 of megaface:mega; while training at most 100 images are embedded"):
        check_evaluation(config("identify:own,megaface:mega"))
