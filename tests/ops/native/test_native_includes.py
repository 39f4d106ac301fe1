"""The folders of C++ include each other in one direction only."""

from __future__ import annotations

import re

import pytest

from ops.native.build import SOURCES

# What each folder may include besides itself.
MAY_INCLUDE = {
    "base": set(),
    "single_ops": {"base"},
    "class_rows": {"base"},
    "network/arithmetic": {"base"},
    "network/layers": {"base", "network/arithmetic"},
    "network/plan": {"base", "class_rows", "network/arithmetic", "network/layers"},
    "register": {"base", "single_ops", "class_rows", "network/plan"},
}
# Stands for headers that OneFlow's wheel lacks; its folders are named as OneFlow's are.
OF_ONEFLOW = ("oneflow", "glog")


def included_folders(folder: str) -> set[str]:
    files = [path for path in (SOURCES / folder).iterdir() if path.suffix in {".h", ".cpp"}]
    names = [name for path in files for name in re.findall(r'^#include "(.*)"', path.read_text(), re.MULTILINE)]
    assert all((SOURCES / name).is_file() for name in names if not name.startswith(OF_ONEFLOW))
    return {name.rsplit("/", 1)[0] for name in names if not name.startswith(OF_ONEFLOW)} - {folder}


@pytest.mark.parametrize("folder", MAY_INCLUDE)
def test_includes_run_downwards(folder: str) -> None:
    assert included_folders(folder) <= MAY_INCLUDE[folder]


def test_every_source_is_in_one_of_the_folders() -> None:
    found = {path.parent.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.cpp")}
    assert found == set(MAY_INCLUDE)
