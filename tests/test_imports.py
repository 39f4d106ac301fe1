"""What import-linter cannot see, as it reads packages only: the imports of the modules at the top of the repository."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def imported_packages(file: str) -> set[str]:
    """Return the top-level names that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_the_sample_config_needs_nothing_of_the_project() -> None:
    assert imported_packages("sample_config.py") == {"easydict"}


@pytest.mark.parametrize("entry", ["insightface_train.py", "insightface_val.py"])
def test_entries_use_rooms_and_no_tools(entry: str) -> None:
    assert not imported_packages(entry) & {"tools", "benchmarks", "tests"}
