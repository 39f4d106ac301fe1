from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import atomic_directory, atomic_file, check_target, copy_file, make_directory


def write(path: Path) -> None:
    with atomic_file(path, "w") as file:
        file.write("new")


def make(path: Path) -> None:
    with atomic_directory(path) as folder:
        (folder / "a").write_text("new")


def copy(path: Path) -> None:
    copy_file(__file__, path)


@pytest.mark.parametrize("put", [write, make, copy])
def test_what_is_complete_appears_in_folders_that_are_made(tmp_path: Path, put: Callable) -> None:
    put(tmp_path / "b" / "c")
    assert os.listdir(tmp_path / "b") == ["c"]


@pytest.mark.parametrize("put", [write, make, copy])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, put: Callable) -> None:
    (tmp_path / "file").write_text("old")
    for path in (tmp_path / "file" / "c", tmp_path / "file" / "b" / "c", Path("/proc/none/c")):
        with pytest.raises(UserError, match="cannot be written"):
            put(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("put", [write, copy])
@pytest.mark.parametrize("path", [Path(""), Path("/")])
def test_a_path_without_a_name_is_one_line(put: Callable, path: Path) -> None:
    with pytest.raises(UserError, match="is not the name of a file or folder to write"):
        put(path)


def test_where_a_file_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    wrong = {"": "--to is empty", tmp_path: "is a folder", tmp_path / "file" / "a" / "b": "file is not a folder"}
    for path, message in wrong.items():
        with pytest.raises(UserError, match=message):
            check_target(path, "--to")
    for path in ("a", tmp_path / "file", tmp_path / "new" / "folder" / "a"):
        check_target(path, "--to")


@pytest.mark.parametrize("put", [write, copy])
def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path, put: Callable) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="c cannot be written .*directory"):
        put(tmp_path / "c")
    assert os.listdir(tmp_path) == ["c"]


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "c") as file:
        file.write(b"half")
        _ = 1 / 0
    assert (tmp_path / "c").read_text() == "old" and os.listdir(tmp_path) == ["c"]
    write(tmp_path / "c")
    assert (tmp_path / "c").read_text() == "new" and os.listdir(tmp_path) == ["c"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="c cannot be written .No space"), atomic_file(tmp_path / "c"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "c"):
        open(tmp_path / "another")  # noqa: SIM115  (not the file that is written)
    assert not os.listdir(tmp_path)


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "c")
    with pytest.raises(UserError, match="exists already"):
        make(tmp_path / "c")


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/run cannot be created \(Not a directory\); choose another --log_dir"):
        make_directory(tmp_path / "file" / "run", "--log_dir")


def test_a_broken_link_and_a_folder_that_appears_meanwhile_are_one_line(tmp_path: Path) -> None:
    os.symlink("nowhere", tmp_path / "link")
    with pytest.raises(UserError, match="link exists already"):
        make(tmp_path / "link")
    with pytest.raises(UserError, match="new cannot be written"), atomic_directory(tmp_path / "new"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "file").write_text("of another command")
    assert sorted(os.listdir(tmp_path)) == ["link", "new"]


WRITER = """
import sys, time
from common.files import atomic_directory, atomic_file
with {"folder": atomic_directory, "file": atomic_file}[sys.argv[1]](sys.argv[2]):
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("put", "kind"), [(write, "file"), (make, "folder")])
def test_what_a_killed_command_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path, put: Callable, kind: str
) -> None:
    command = [sys.executable, "-c", WRITER, kind, str(tmp_path / "c*")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "begun\n"
        put(tmp_path / "c*")
        assert len(list(tmp_path.glob(".c*.tmp-*"))) == 1
        writer.send_signal(signal.SIGKILL)
    os.rename(tmp_path / "c*", tmp_path / "first")
    put(tmp_path / "other")
    assert len(list(tmp_path.glob(".c*.tmp-*"))) == 1  # of another target
    put(tmp_path / "c*")
    assert sorted(os.listdir(tmp_path)) == ["c*", "first", "other"]


def test_what_may_be_of_another_machine_stays_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = [".c.tmp-1", ".c.tmp-1-00000000"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / ".c2.tmp-1").touch()
    write(tmp_path / "c")
    lines = sorted(capsys.readouterr().err.splitlines())
    assert len(lines) == 2 and all(f"{tmp_path / name} stays" in line for name, line in zip(names, lines, strict=True))
    assert sorted(os.listdir(tmp_path)) == [*names, ".c2.tmp-1", "c"]
