"""build_once: one build per key, complete or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.compiling import NativeUnavailableError, build_once


def forbidden(*arguments: object) -> None:
    raise AssertionError("this must not be called")


def write(tools: str, folder: Path) -> None:
    (folder / "result").write_text(tools)


def test_a_built_folder_needs_no_tools(tmp_path: Path) -> None:
    folder = build_once("key", tmp_path / "cache", lambda: "gcc", write)
    assert folder == tmp_path / "cache" / "key"
    assert (folder / "result").read_text() == "gcc"
    assert build_once("key", tmp_path / "cache", forbidden, forbidden) == folder
    assert build_once("other", tmp_path / "cache", lambda: "cc", write) != folder


def test_without_tools_nothing_is_written(tmp_path: Path) -> None:
    def missing() -> str:
        raise NativeUnavailableError("no compiler in PATH")

    with pytest.raises(NativeUnavailableError, match="no compiler"):
        build_once("key", tmp_path / "cache", missing, forbidden)
    assert not (tmp_path / "cache").exists()


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(tools: str, folder: Path) -> None:
        write(tools, folder)
        raise NativeUnavailableError("the compiler failed")

    with pytest.raises(NativeUnavailableError, match="the compiler failed"):
        build_once("key", tmp_path, lambda: "gcc", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NativeUnavailableError, match="cannot write .*file/cache"):
        build_once("key", tmp_path / "file" / "cache", lambda: "gcc", forbidden)
