from __future__ import annotations

import pytest

from common import choose_cuda
from common.compiling import NativeUnavailableError
from common.errors import UserError


@pytest.fixture
def machine(monkeypatch):
    """A function that sets what the machine has and what the user asked for."""

    def make(switch: str = "", reason: str | None = None, installed: bool = False, compiler: bool = True) -> None:
        def find_tools() -> tuple[str, str]:
            if not compiler:
                raise NativeUnavailableError("no C compiler (gcc) in PATH")
            return "gcc", "nm"

        monkeypatch.setenv(choose_cuda.SWITCH, switch)
        monkeypatch.setattr(choose_cuda, "reason_for_cuda", lambda: reason)
        monkeypatch.setattr(choose_cuda, "find_stand_in_tools", find_tools)
        monkeypatch.setattr(choose_cuda, "_installed", lambda wheel: installed)

    return make


@pytest.mark.parametrize(
    ("has", "choice"),
    [
        ({}, ("light", "no NVIDIA driver found")),
        ({"reason": "NVIDIA driver found (here)"}, ("cuda", "NVIDIA driver found (here)")),
        ({"switch": "1", "reason": "INSIGHTFACE_CUDA=1", "compiler": False}, ("cuda", "INSIGHTFACE_CUDA=1")),
        ({"compiler": False}, ("cuda", "no C compiler (gcc) in PATH")),
        ({"installed": True}, ("cuda", "they are installed already")),
        ({"switch": "0"}, ("light", "INSIGHTFACE_CUDA=0")),
        ({"switch": "0", "installed": True}, ("light", "INSIGHTFACE_CUDA=0")),
    ],
)
def test_choice(machine, has, choice):
    machine(**has)
    assert choose_cuda.choose() == choice


def test_light_without_a_compiler_is_refused(machine):
    machine(switch="0", compiler=False)
    with pytest.raises(UserError, match=r"INSIGHTFACE_CUDA=0 needs .*no C compiler \(gcc\) in PATH"):
        choose_cuda.choose()


def test_one_line_says_what_and_why(machine, capsys):
    machine()
    choose_cuda.main()
    assert capsys.readouterr().out == (
        "light: no NVIDIA driver found: light CPU install (set INSIGHTFACE_CUDA=1 for the CUDA libraries)\n"
    )
    machine(reason="NVIDIA driver found (here)")
    choose_cuda.main()
    assert capsys.readouterr().out == (
        "cuda: NVIDIA driver found (here): install with the CUDA libraries (INSIGHTFACE_CUDA=0 to do without them)\n"
    )


def test_installed_packages_are_found():
    assert choose_cuda._installed("oneflow")
    assert not choose_cuda._installed("no-such-wheel")
