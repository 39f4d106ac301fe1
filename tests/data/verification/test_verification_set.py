from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.image import decode_image, encode_jpeg
from data.ofrecord.records import encode_verification_record, write_record
from data.sources.synthetic import SyntheticSource
from data.verification.bin_file import write_bin
from data.verification.verification_set import VerificationSet, load_verification_set

FACES = [encode_jpeg(SyntheticSource(3, 3).read(i)[0]) for i in range(3)]
BINS = [FACES[0], FACES[1], FACES[2], FACES[0], FACES[1], FACES[1]]
ISSAME = [False, True, True]


def write_parts(folder: Path, bins: list[bytes], flags: list[bool], num_parts: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in enumerate(np.array_split(np.arange(len(bins)), num_parts)):
        with open(folder / f"part-{part}", "wb") as handle:
            for row in rows:
                write_record(handle, encode_verification_record(bins[row], flags[row]))


def check(found: VerificationSet) -> None:
    assert found.name == "lfw"
    assert found.images.shape == (3, 3, 112, 112) and found.images.dtype == np.uint8
    np.testing.assert_array_equal(found.images[1], decode_image(FACES[1]).transpose(2, 0, 1))
    np.testing.assert_array_equal(found.index, [0, 1, 2, 0, 1, 1])
    np.testing.assert_array_equal(found.issame, ISSAME)


def test_bin_given_as_file_or_by_its_folder(tmp_path: Path) -> None:
    write_bin(tmp_path / "lfw.bin", BINS, ISSAME)
    check(load_verification_set(tmp_path / "lfw.bin", "lfw"))
    check(load_verification_set(tmp_path, "lfw"))


@pytest.mark.parametrize("num_parts", [1, 4])
def test_parts_in_the_folder_or_below(tmp_path: Path, num_parts: int) -> None:
    write_parts(tmp_path / "lfw", BINS, np.repeat(ISSAME, 2).tolist(), num_parts)
    check(load_verification_set(tmp_path / "lfw", "lfw", part_num=num_parts))
    check(load_verification_set(tmp_path, "lfw"))


def test_other_sizes_are_scaled(tmp_path: Path) -> None:
    big = encode_jpeg(np.full((250, 250, 3), 90, np.uint8))
    write_bin(tmp_path / "lfw.bin", [big, FACES[0]], [False])
    images = load_verification_set(tmp_path, "lfw").images
    assert images.shape == (2, 3, 112, 112) and abs(int(images[0].mean()) - 90) <= 1


def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looked for .*cfp_fp\.bin, .*bin_2_ofrecord\.py .*--dataset_name cfp_fp"):
        load_verification_set(tmp_path, "cfp_fp")


def test_damaged_sets(tmp_path: Path) -> None:
    write_bin(tmp_path / "lfw.bin", [FACES[0], b"bad"], [True])
    with pytest.raises(UserError, match=r"lfw\.bin: image 1: .*cannot be decoded"):
        load_verification_set(tmp_path, "lfw")
    tall = encode_jpeg(np.zeros((150, 100, 3), np.uint8))
    write_bin(tmp_path / "lfw.bin", [FACES[0], tall, b"bad", b"", FACES[0], b"bad"], [True, True, False])
    with pytest.raises(UserError) as caught:
        load_verification_set(tmp_path, "lfw")
    first, *others, way = str(caught.value).splitlines()
    assert way == (
        f"python tools/dataset_convert/check_dataset.py {tmp_path}/lfw.bin --write_clean OUT leaves out pairs with bad "
        "images"
    )
    assert "image 1: the image is 100x150 pixels, expected a square, which is scaled to 112x112" in first
    assert [line.partition(": ")[2].split(":")[0] for line in others] == ["image 2", "image 3"]
    write_bin(tmp_path / "lfw.bin", [FACES[0], bytes(3 * 40 * 40)], [True])
    with pytest.raises(
        UserError, match="image 1: 4800 bytes that .* as many as 40x40 RGB pixels have: store the bytes"
    ):
        load_verification_set(tmp_path, "lfw")
    write_parts(tmp_path / "a", BINS[:3], [True] * 3)
    with pytest.raises(UserError, match="3 images, expected an even number"):
        load_verification_set(tmp_path / "a", "a")
    write_parts(tmp_path / "b", BINS[:2], [True, False])
    with pytest.raises(UserError, match=r"part-0: record at byte 0 .*'issame' differ"):
        load_verification_set(tmp_path / "b", "b")
    write_parts(tmp_path / "c", [FACES[0], b"bad"], [True, True])
    with pytest.raises(UserError, match=r"part-0: record at byte \d\d+: .*cannot be decoded"):
        load_verification_set(tmp_path / "c", "c")
