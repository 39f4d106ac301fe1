"""The meta files as they are distributed; whatever is wrong with one is a line that names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.ijb import number_table
from data.ijb.meta import find_meta, read_images, read_pairs, read_people
from data.ijb.number_table import read_number_table
from engine.template_set import read_template_set
from evaluation.templates.modes import parse_modes
from tests.support import ijb_reference as reference

SMALL = reference.make_set(7, 6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return SMALL.write(tmp_path / "IJBC")


def test_what_is_written_is_read(folder: Path) -> None:
    files = find_meta(folder)
    images = read_images(files)
    assert list(zip(images.names, images.templates, images.medias, strict=True)) == SMALL.faces
    assert np.array_equal(images.detector_scores, np.float32(SMALL.detector))
    pairs = read_pairs(files, images)
    assert list(zip(pairs.first, pairs.second, pairs.same, strict=True)) == SMALL.pairs
    probes = read_people(files.probes, images)
    assert list(zip(probes.templates, probes.people, strict=True)) == sorted(set(SMALL.probes))
    assert find_meta(folder.parent).folder == folder and files.images == folder / "loose_crop"


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_a_table_in_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunk: int) -> None:
    monkeypatch.setattr(number_table, "_CHUNK", chunk)
    numbers = np.random.default_rng(0).integers(0, 10**9, (40, 3))
    lines = [" ".join(map(str, row)) for row in numbers]
    lines[3], lines[4] = lines[3].replace(" ", "\t"), f"  {lines[4]} "
    lines.insert(9, "")
    (tmp_path / "table.txt").write_text("\n".join(lines))
    assert np.array_equal(read_number_table(tmp_path / "table.txt", 3), numbers)
    (tmp_path / "dos.txt").write_bytes("\r\n".join(lines).encode() + b"\r\n")
    assert np.array_equal(read_number_table(tmp_path / "dos.txt", 3), numbers)


@pytest.mark.parametrize(
    ("line", "shown"),
    [("1 2", "1 2"), ("1 2 0 4", "1 2 0 4"), ("1 x 0", "1 x 0"), ("1 2.5 0", "1 2.5 0"), ("1 -2 0", "1 -2 0")],
)
def test_a_line_that_is_not_a_pair(tmp_path: Path, line: str, shown: str) -> None:
    (tmp_path / "pairs.txt").write_text(f"1 2 1\n1 3 0\n{line}\n1 4 0\n2\n")
    with pytest.raises(UserError, match=rf"pairs\.txt line 3: '{shown}' is not 3 whole numbers"):
        read_number_table(tmp_path / "pairs.txt", 3)


def test_numbers_that_move_to_the_next_line_are_found(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("1 2\n1 3 0 4 5 0\n")  # six numbers, as two pairs have
    with pytest.raises(UserError, match="line 1: '1 2' is not"):
        read_number_table(tmp_path / "pairs.txt", 3)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


GALLERY, PROBE = SMALL.galleries["G1"][0], SMALL.probes[0]
FIRST = " ".join(map(str, SMALL.faces[0]))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("face_tid_mid.txt", f"{FIRST}\n", "", r"has \d+ images, .*name_5pts_score.txt \d+; they must be the same"),
        ("face_tid_mid.txt", "1.jpg", "x.jpg", r"5pts_score.txt: image 1 is '1.jpg', in .* it is 'x.jpg' \(1 differ\)"),
        ("face_tid_mid.txt", FIRST, "1.jpg 5", "line 1: expected 3 words: image, template and media"),
        ("face_tid_mid.txt", FIRST, "1.jpg a 5", "tid_mid.txt: a word is not a number"),
        ("name_5pts_score.txt", "1.jpg 38.295", "1.jpg", "line 1: expected 12 words: image, ten landmarks and a score"),
        ("name_5pts_score.txt", f" {SMALL.detector[0]:.3f}\n", " nan\n", "the score of 1.jpg is not a number"),
        ("template_pair_label.txt", " 1\n", " 2\n", r"pair \d+ has a label that is not 0 or 1"),
        (
            "template_pair_label.txt",
            " 0\n",
            " 0\n999 998 0\n",
            "template 998 has no image\n.*template 999 has no image",
        ),
        ("1N_gallery_G1.csv", f"{GALLERY[0]},", "999,", "G1.csv: template 999 has no image"),
        ("1N_gallery_G1.csv", f"{GALLERY[0]},", "", "G1.csv: a word is not a number"),
        ("1N_gallery_G1.csv", f"{GALLERY[0]},", f"{10**20},", "G1.csv: a word is not a number .*too large"),
        ("1N_probe_mixed.csv", f"{PROBE[0]},{PROBE[1]},frames/{PROBE[0]}.jpg", "5", "line 2: expected template and"),
        ("1N_probe_mixed.csv", "\n", f"\n{PROBE[0]},7,a.jpg\n", f"template {PROBE[0]} has two subjects"),
    ],
)
def test_files_that_do_not_fit(folder: Path, name: str, old: str, new: str, message: str) -> None:
    edit(folder / "meta" / f"ijbc_{name}", old, new)
    with pytest.raises(UserError, match=message):
        read_template_set(find_meta(folder))


@pytest.mark.parametrize("name", ["name_5pts_score.txt", "template_pair_label.txt", "1N_gallery_G2.csv"])
def test_a_missing_or_empty_file(folder: Path, name: str) -> None:
    path = folder / "meta" / f"ijbc_{name}"
    path.write_text("")
    with pytest.raises(UserError, match=rf"{name}.* (is empty|has no templates)"):
        read_template_set(find_meta(folder))
    path.unlink()
    with pytest.raises(UserError, match=rf"{name} cannot be read \(No such file"):
        read_template_set(find_meta(folder))


def test_only_pairs_of_one_kind(folder: Path) -> None:
    path = folder / "meta" / "ijbc_template_pair_label.txt"
    path.write_text(path.read_text().replace(" 1\n", " 0\n"))
    with pytest.raises(UserError, match="has no pair of one person; both kinds are needed"):
        read_template_set(find_meta(folder))


def test_which_set(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="has no meta/ijbb_face_tid_mid.txt or meta/ijbc_face_tid_mid.txt; give the folder"
    ):
        find_meta(tmp_path / "none")
    SMALL.write(tmp_path / "IJBB", "ijbb")
    with pytest.raises(UserError, match="holds IJBB and IJBC; choose by --target"):
        find_meta(tmp_path)
    assert find_meta(tmp_path, "IJBB").target == "IJBB"


@pytest.mark.parametrize(("text", "message"), [("N1D1", "'N1D1' is not a mode"), ("N1D1F2,N1D1F2", "occurs twice")])
def test_modes_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_modes(text)
