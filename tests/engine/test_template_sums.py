"""Which code adds templates up: the C++ kernel, or SciPy with a line that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import template_sums
from evaluation.templates.pooling import sum_in_blocks
from ops.native.loader import SWITCH
from ops.search import NativeTemplateSums


def test_the_kernel_is_used_where_it_can_be_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    assert isinstance(template_sums.open_template_sums(), NativeTemplateSums)
    assert capsys.readouterr().err == ""


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv(SWITCH, "0")
    assert template_sums.open_template_sums() is sum_in_blocks
    assert capsys.readouterr().err == "pooling with SciPy, which is slower (INSIGHTFACE_NATIVE=0)\n"


def test_without_a_compiler_scipy_adds_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(template_sums, "NativeTemplateSums", lambda: NativeTemplateSums(cache=tmp_path / "cache"))
    assert template_sums.open_template_sums() is sum_in_blocks
    line = "pooling with SciPy, which is slower; the kernel is not available: no C++ compiler (g++) in PATH\n"
    assert capsys.readouterr().err == line
