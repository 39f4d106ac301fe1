from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from evaluation.groups.group_file import assign_groups, read_groups


def write(folder: Path, text: str) -> Path:
    path = folder / "groups.txt"
    path.write_text(text)
    return path


def test_persons_and_images(tmp_path):
    path = write(tmp_path, "# who\nAnna Lee, b\nBo\ta\ncarl b\n\nBo_0002 c\nunused z\n")
    groups = read_groups(path)
    assert groups == {"Anna Lee": "b", "Bo": "a", "carl": "b", "Bo_0002": "c", "unused": "z"}
    names = ["Anna Lee/1.jpg", "Bo/Bo_0001.png", "Bo/Bo_0002.png", "x/carl/7"]
    present, numbers = assign_groups(names, groups, path)
    assert present == ["b", "a", "c"] and numbers.tolist() == [0, 1, 2, 0]
    assert assign_groups(["1", "0"], {"0": "p", "1": "q"}, path)[1].tolist() == [1, 0]


def test_all_wrong_lines_are_listed(tmp_path):
    path = write(tmp_path, "anna a\nalone\nanna b\n,a\n")
    with pytest.raises(UserError) as caught:
        read_groups(path)
    assert [line.split(": ", 1)[0] for line in str(caught.value).splitlines()] == [f"{path}:{n}" for n in (2, 3, 4)]
    with pytest.raises(UserError, match="contains no lines"):
        read_groups(write(tmp_path, "# nothing\n"))
    with pytest.raises(UserError, match="--groups .* cannot be read"):
        read_groups(tmp_path / "missing")


def test_images_without_a_group_are_counted(tmp_path):
    with pytest.raises(UserError, match=r"no group for 7 of 8 images: b/1, b/2, b/3, b/4, b/5, \.\.\.; give each"):
        assign_groups(["a/1", *(f"b/{n}" for n in range(1, 8)), "b/1"], {"a": "x"}, "groups.txt")
