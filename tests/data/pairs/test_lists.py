from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from common.errors import UserError
from data.pairs.lists import Pair, read_pairs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as LFW's, and one with a blank in its name."""
    folder = tmp_path / "photos"
    files = ["Abel_X/Abel_X_0001.jpg", "Abel_X/Abel_X_0012.png", "Bo/Bo_0001.jpg", "Bo/Bo_0003.JPEG", "Jörg M/a b.jpg"]
    for name in [*files, os.fsdecode(b"\xc0\xee/1.jpg")]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def read(folder: Path, text: str | bytes) -> list[tuple[str, str, bool]]:
    path = folder.parent / "pairs.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    pairs = read_pairs(path, folder)
    assert all(isinstance(pair, Pair) and pair.place.startswith(f"{path}:") for pair in pairs)
    return [(str(pair.first.relative_to(folder)), str(pair.second.relative_to(folder)), pair.same) for pair in pairs]


def test_lfws_list(photos: Path) -> None:
    text = "1\t2\nAbel_X\t1\t12\nBo\t1\t3\nAbel_X\t1\tBo\t3\nBo\t1\tAbel_X\t12\n"
    expected = [
        ("Abel_X/Abel_X_0001.jpg", "Abel_X/Abel_X_0012.png", True),
        ("Bo/Bo_0001.jpg", "Bo/Bo_0003.JPEG", True),
        ("Abel_X/Abel_X_0001.jpg", "Bo/Bo_0003.JPEG", False),
        ("Bo/Bo_0001.jpg", "Abel_X/Abel_X_0012.png", False),
    ]
    assert read(photos, text) == expected
    assert read(photos, text.replace("1\t2\n", "2\n", 1).replace("\t", "  ")) == expected  # pairsDevTest.txt
    assert read(photos, text.partition("\n")[2]) == expected  # without the first line


def test_lists_of_paths(photos: Path) -> None:
    gbk = os.fsdecode(b"\xc0\xee/1.jpg")
    expected = [("Bo/Bo_0001.jpg", "Bo/Bo_0003.JPEG", True), ("Jörg M/a b.jpg", "Bo/Bo_0001.jpg", False)]
    for mark in (" ", "   ", "\t", ", "):
        lines = (mark.join((first, second, str(int(same)))) for first, second, same in expected)
        assert read(photos, "\ufeff" + "\r\n".join(lines) + "\n\n# a comment\n") == expected
    assert read(photos, b"\xc0\xee/1.jpg Bo/Bo_0001.jpg 0\n") == [(gbk, "Bo/Bo_0001.jpg", False)]
    assert read(photos, f"{photos}/Bo/Bo_0001.jpg Bo/Bo_0003.JPEG 1")[0] == expected[0]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "3 1\nBo 1 2\nBo 1 x\nCarl 1 Bo 3\nBo 1 Bo 9\n",
            [
                r":2: .*Bo/Bo_0002 with any suffix does not exist",
                r":3: 'Bo 1 x' is not 'name 1 2', 'name1 1 name2 2'",
                r":4: .*Carl/Carl_0001 with",
                r":5: .*Bo/Bo_0009 with",
                r":1: '3 1' means 6 pairs, but 4 lines follow",
            ],
        ),
        (
            "Bo/Bo_0001.jpg Bo/Bo_0003.JPEG 2\nBo/Bo_0001.jpg 1\nBo/x.jpg y.jpg 0\nBo/Bo_0001.jpg Bo/Bo_0001.jpg 1\n",
            [
                r":1: '.* 2' is not 'path path 0/1'",
                r":2: '.* 1' is not 'path path 0/1'",
                r":3: not found in .*photos: Bo/x\.jpg, y\.jpg$",
            ],
        ),
        # Longer than a name may be.
        (f"1 1\n{'b' * 300} 1 2\nBo 1 Bo 3\n", [r":2: .*bbb_0001 with any suffix does not exist"]),
        (f"{'b' * 300} b.jpg 1\n", [r":1: not found in .*: b{300}, b\.jpg$"]),
        ("\n", ["contains no pairs; expected lines 'name 1 2'"]),
    ],
)
def test_all_problems_are_listed(photos: Path, text: str, messages: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read(photos, text)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(messages)
    for line, message in zip(lines, messages, strict=True):
        assert re.search(message, line), line


def test_many_problems_are_counted(photos: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(photos, "a b 1\n" * 50)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21 and lines[-1] == "... and 30 more problems in 50 pairs"


def test_what_is_not_there(photos: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.txt cannot be read"):
        read_pairs(photos / "absent.txt", photos)
    with pytest.raises(UserError, match="absent is not a folder; give the one that the paths of"):
        read_pairs(photos / "absent.txt", photos / "absent")
