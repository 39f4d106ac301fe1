from __future__ import annotations

import pytest

from common import cuda
from common.compiling import NativeUnavailableError
from common.errors import UserError


@pytest.fixture(autouse=True)
def machine_without_a_driver(monkeypatch, tmp_path):
    monkeypatch.delenv(cuda.SWITCH, raising=False)
    monkeypatch.setattr(cuda, "DRIVER_FOLDER", tmp_path / "driver")
    monkeypatch.setattr(cuda, "DRIVER_LIBRARY", "libno-such-driver.so.1")


def test_no_driver_is_no_reason():
    assert cuda.reason_for_cuda() is None


def test_the_driver_is_known_by_its_folder(tmp_path):
    (tmp_path / "driver").mkdir()
    assert cuda.reason_for_cuda() == f"NVIDIA driver found ({tmp_path / 'driver'})"


def test_the_driver_is_known_by_its_library(monkeypatch):
    monkeypatch.setattr(cuda, "DRIVER_LIBRARY", "libc.so.6")  # one that loads
    assert cuda.reason_for_cuda() == "NVIDIA driver found (libc.so.6)"


@pytest.mark.parametrize("driver", [False, True])
def test_the_switch_has_the_last_word(driver, monkeypatch, tmp_path):
    if driver:
        (tmp_path / "driver").mkdir()
    monkeypatch.setenv(cuda.SWITCH, "1")
    assert cuda.reason_for_cuda() == "INSIGHTFACE_CUDA=1"
    monkeypatch.setenv(cuda.SWITCH, "0")
    assert cuda.reason_for_cuda() is None


def test_a_switch_that_means_nothing_is_named(monkeypatch):
    monkeypatch.setenv(cuda.SWITCH, "yes")
    with pytest.raises(UserError, match="INSIGHTFACE_CUDA=yes in the environment: expected 1 .*, 0 .* or unset"):
        cuda.reason_for_cuda()


def test_the_tools_are_the_first_found_in_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("cc", "nm"):
        with pytest.raises(NativeUnavailableError, match=f"no .*{ {'cc': 'C compiler', 'nm': 'nm'}[name] }.* in PATH"):
            cuda.find_stand_in_tools()
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    assert cuda.find_stand_in_tools() == (str(tmp_path / "cc"), str(tmp_path / "nm"))
