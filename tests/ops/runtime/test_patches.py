from __future__ import annotations

from pathlib import Path

import pytest

from ops.runtime.import_oneflow import import_oneflow
from ops.runtime.patches import load_corrections


def test_oneflow_works_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not load_corrections(tmp_path / "cache")
    assert import_oneflow().__version__ == "0.9.0"
