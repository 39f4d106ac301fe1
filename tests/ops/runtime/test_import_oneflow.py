from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.runtime import import_oneflow as runtime

ROOT = Path(__file__).resolve().parents[3]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


def test_import_is_quiet_and_keeps_the_interrupt_handler() -> None:
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, lambda *_: print('asked to stop', flush=True))\n"
        "from ops import flow\n"
        "print(flow.ones(2).sum().item())\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('alive')\n"
    )
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2.0\nasked to stop\nalive\n", "")


def test_ctrl_c_stays_keyboard_interrupt() -> None:
    code = (
        "import os, signal\nfrom ops import flow\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    import time; time.sleep(5)\n"
        "except KeyboardInterrupt:\n    print('interrupted')"
    )
    assert run(code).stdout == "interrupted\n"


def test_a_signal_within_the_import_is_handled_after_it() -> None:
    code = (
        "import importlib, os, signal\n"
        "from ops.runtime import import_oneflow as runtime\n"
        "signal.signal(signal.SIGTERM, lambda *_: 1 / 0)\n"
        "real = importlib.import_module\n"
        "def load(name):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    module = real(name)\n    print('imported')\n    return module\n"
        "importlib.import_module = load\n"
        "try:\n    runtime.import_oneflow()\nexcept ZeroDivisionError:\n    print('handled')"
    )
    assert run(code).stdout == "imported\nhandled\n"


def test_blas_kernels_are_the_user_s_choice_first() -> None:
    code = "import os\nfrom ops import flow\nprint(os.environ.get('OPENBLAS_CORETYPE'))"
    assert run(code, OPENBLAS_CORETYPE="Prescott").stdout == "Prescott\n"


def test_missing_library_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.sys, "path", [])
    with pytest.raises(runtime.UserError, match="OneFlow needs libcudnn.so.99: .*make setup"):
        runtime._locate_in_wheels("cudnn", "libcudnn.so.99")


def test_handler_in_this_process_is_python_s() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_only_the_import_binds_functions_late() -> None:
    before = sys.getdlopenflags()
    with runtime._lazy_binding():
        assert sys.getdlopenflags() & (os.RTLD_LAZY | os.RTLD_NOW) == os.RTLD_LAZY
    assert sys.getdlopenflags() == before
