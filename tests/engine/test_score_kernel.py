"""Which kernel searches: the C++ one, or NumPy's with a line that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.compiling import NativeUnavailableError
from engine import score_kernel
from evaluation.search.kernel import NumpyScoreKernel
from ops.native.loader import SWITCH
from ops.search import NativeScoreKernel
from ops.search.kernel import build_library


def test_the_kernel_is_used_where_it_can_be_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    assert isinstance(score_kernel.open_score_kernel(), NativeScoreKernel)
    assert capsys.readouterr().err == ""


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv(SWITCH, "0")
    assert isinstance(score_kernel.open_score_kernel(), NumpyScoreKernel)
    assert capsys.readouterr().err == "searching with NumPy, which is slower (INSIGHTFACE_NATIVE=0)\n"


def test_without_a_compiler_numpy_searches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeUnavailableError, match="no C"):
        build_library(tmp_path / "cache")
    monkeypatch.setattr(score_kernel, "NativeScoreKernel", lambda _: NativeScoreKernel(cache=tmp_path / "cache"))
    assert isinstance(score_kernel.open_score_kernel(), NumpyScoreKernel)
    line = "searching with NumPy, which is slower; the kernel is not available: no C++ compiler (g++) in PATH\n"
    assert capsys.readouterr().err == line
