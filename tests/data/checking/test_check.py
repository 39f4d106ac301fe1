"""Checks of sets whose faults are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.checking import inspect as inspect_module
from data.checking.check import CheckedSet, check_set, list_sizes
from data.checking.classes import count_classes, describe_ranges
from data.checking.inspect import INTACT, inspect
from data.image import decode_image, encode_jpeg
from data.listing import open_listing
from data.verification.bin_file import write_bin
from tests.support.record_sets import small_faces, write_part, write_photos, write_records

SIZE = 32


def as_png(encoded: bytes) -> bytes:
    """Return the same pixels in another format."""
    return cv2.imencode(".png", decode_image(encoded, SIZE)[..., ::-1])[1].tobytes()


def scaled(encoded: bytes, width: int, height: int) -> bytes:
    return encode_jpeg(cv2.resize(decode_image(encoded, SIZE), (width, height)))


def check(path: Path, *verification: Path, **options: int) -> CheckedSet:
    return check_set(open_listing(path), [open_listing(each) for each in verification], 1, **options)


def faults(checked: CheckedSet) -> list[tuple[str, str]]:
    return [(each.file, each.reason) for each in checked.rejections()]


def test_every_bad_image_is_named_with_key_byte_and_reason(tmp_path: Path) -> None:
    faces = small_faces(4, 3)
    faces[2] = (b"not a picture", 0)
    faces[5] = (faces[5][0][: len(faces[5][0]) // 2], 1)
    faces[7] = (scaled(faces[7][0], 40, 30), 2)
    faces[9] = (b"\xff\xd8" + bytes(50), 3)
    offsets = write_records(tmp_path, faces, "4,32,32")
    checked = check(tmp_path)
    assert faults(checked) == [
        (f"train.rec: key {key} at byte {offsets[key]}", reason)
        for key, reason in [(2, "not decodable"), (5, "damaged JPEG"), (7, "wrong size"), (9, "not decodable")]
    ]
    assert np.flatnonzero(checked.is_unusable).tolist() == [2, 7, 9]
    assert list_sizes(checked.inspection.facts) == [((32, 32), 9), ((30, 40), 1)]


def test_intact_sets_have_no_fault(tmp_path: Path) -> None:
    faces = small_faces(3, 2)
    write_records(tmp_path / "rec", faces, "3,32,32")
    write_part(tmp_path / "parts", faces)
    write_photos(tmp_path / "photos", faces)
    for name in ("rec", "parts", "photos"):
        checked = check(tmp_path / name)
        assert not checked.rejections()
        assert not checked.is_unusable.any()
        assert checked.inspection.facts["label"].tolist() == [0, 0, 1, 1, 2, 2]
        assert (checked.inspection.facts["fault"] == INTACT).all()
        assert checked.classes.counts.tolist() == [2, 2, 2]
        assert len(checked.duplicates.numbers) == 0


def test_the_size_is_the_sets_or_the_most_frequent_or_the_given_one(tmp_path: Path) -> None:
    faces = small_faces(2, 3)
    faces[0] = (scaled(faces[0][0], 40, 40), 0)
    write_part(tmp_path / "parts", faces)
    write_photos(tmp_path / "photos", faces)
    assert np.flatnonzero(check(tmp_path / "parts").has_wrong_size).tolist() == [0]
    assert not check(tmp_path / "photos").has_wrong_size.any()  # photos may have any size
    assert np.flatnonzero(check(tmp_path / "photos", image_size=40).has_wrong_size).tolist() == [1, 2, 3, 4, 5]


def test_damage_does_not_hide_what_comes_after_it(tmp_path: Path) -> None:
    faces = small_faces(4, 3)
    offsets = write_records(tmp_path, faces, index=False)
    content = bytearray((tmp_path / "train.rec").read_bytes())
    content[offsets[5] : offsets[5] + 8] = bytes(8)
    (tmp_path / "train.rec").write_bytes(content)
    checked = check(tmp_path)
    assert len(checked.listing) == 11
    (damage,) = checked.listing.damage
    assert f"{offsets[5]}" in damage.details
    assert f"{offsets[6]}" in damage.details
    assert checked.inspection.facts["label"].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_truncated_part_is_read_up_to_its_end(tmp_path: Path) -> None:
    faces = small_faces(2, 3)
    write_part(tmp_path, faces)
    part = tmp_path / "part-00000"
    part.write_bytes(part.read_bytes()[:-5])
    checked = check(tmp_path)
    assert len(checked.listing) == 5
    assert [each.file for each in checked.listing.damage] == ["part-00000"]


def test_records_without_an_image_are_named(tmp_path: Path) -> None:
    faces = small_faces(2, 2)
    write_part(tmp_path, [faces[0], (faces[1][0], -3), *faces[2:]])
    ((name, reason),) = faults(check(tmp_path))
    assert reason == "damaged record"
    assert name.startswith("part-00000: record at byte ")


@pytest.mark.parametrize("collide", [False, True])
def test_duplicates_are_those_with_equal_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collide: bool) -> None:
    """Whatever the hashes: if many images have the same, the images themselves decide."""
    if collide:
        monkeypatch.setattr(inspect_module, "hash_pixels", lambda image: int(image[0, 0, 0]) % 2)
    originals = [encoded for encoded, _ in small_faces(4, 3)]
    generator = np.random.default_rng(3)
    which, labels = generator.integers(0, 12, 40), np.sort(generator.integers(0, 4, 40))
    is_png = generator.integers(0, 2, 40).astype(bool)
    faces = [
        (as_png(originals[image]) if png else originals[image], int(label))
        for image, label, png in zip(which, labels, is_png, strict=True)
    ]
    write_records(tmp_path, faces)
    found = check(tmp_path).duplicates
    firsts = [int(np.argmax(which == image)) for image in which]
    expected = [number for number in range(40) if firsts[number] != number]
    assert found.numbers.tolist() == expected
    assert found.firsts.tolist() == [firsts[number] for number in expected]
    assert found.same_bytes.tolist() == [bool(is_png[n] == is_png[firsts[n]]) for n in expected]
    assert found.across.tolist() == [len(set(labels[which == image])) > 1 for image in which]


@pytest.mark.parametrize("collide", [False, True])
def test_images_of_a_verification_set_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collide: bool) -> None:
    if collide:
        monkeypatch.setattr(inspect_module, "hash_pixels", lambda image: 1)
    faces = small_faces(3, 2)
    write_records(tmp_path, faces, "3,32,32")
    other = [encoded for encoded, _ in small_faces(3, 4)[6:]]
    write_bin(tmp_path / "own.bin", [other[0], as_png(faces[4][0]), other[1], other[2]], [True, False])
    (shared,) = check(tmp_path, tmp_path / "own.bin").shared
    assert shared.numbers.tolist() == [4]
    assert shared.others.tolist() == [1]


def test_threads_and_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = small_faces(10, 60)
    faces[300] = (b"no", 5)
    write_records(tmp_path, faces)
    listing = open_listing(tmp_path)
    one, threads = inspect(listing, 1), inspect(listing, 2)
    monkeypatch.setattr(inspect_module, "_MOST_THREADS", 1)
    processes = inspect(listing, 2)
    for found in (one, threads, processes):
        assert (found.facts == one.facts).all()
        assert found.details == {300: "2 bytes that cannot be decoded as an image"}


def test_gaps_and_classes_without_images() -> None:
    classes = count_classes(np.array([2, 2, 3, 7, 9, -1], np.int32), 14)
    assert classes.labels.tolist() == [2, 3, 7, 9]
    assert classes.counts.tolist() == [2, 1, 1, 1]
    assert classes.gaps == [(0, 1), (4, 6), (8, 8)]
    assert classes.missing_at_end == (10, 13)
    assert classes.num_missing == 10
    assert describe_ranges(classes.gaps) == "0-1, 4-6, 8"
    assert count_classes(np.array([0, 1, 5, 5], np.int32), 3).images_beyond == 2
    assert count_classes(np.array([], np.int32), None).gaps == []
