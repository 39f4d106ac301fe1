"""Prepare a process for OneFlow 0.9 and import it.

OneFlow's wheel is linked against libcudnn 8 and libcublas 11 even on machines without a GPU, does not search for them
itself, and contains an OpenBLAS that does not recognise recent CPUs.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from common.compiling import NativeUnavailableError
from common.cuda import SWITCH, reason_for_cuda
from common.errors import UserError
from common.open_files import require_open_files
from common.processor import processor_flags
from ops.runtime.cuda_stand_ins import install_stand_ins
from ops.runtime.graph_destruction import protect_builds
from ops.runtime.graph_variables import share_scopes
from ops.runtime.patches import load_corrections

# (folder inside the nvidia wheels, soname), in the order of their dependencies.
CUDA_LIBRARIES = (
    ("cublas", "libcublasLt.so.11"),
    ("cublas", "libcublas.so.11"),
    ("cudnn", "libcudnn_ops_infer.so.8"),
    ("cudnn", "libcudnn_cnn_infer.so.8"),
    ("cudnn", "libcudnn_ops_train.so.8"),
    ("cudnn", "libcudnn_cnn_train.so.8"),
)


def import_oneflow() -> ModuleType:
    """Import OneFlow in a prepared process and return the module.

    Raises:
        UserError: a library that OneFlow needs is neither on the system nor in the nvidia wheels, and a stand-in is not
            allowed or cannot be built; or too few files may be open.
    """
    if "oneflow" not in sys.modules:
        require_open_files()
        _load_cuda_libraries()
        load_corrections()
        _choose_blas_kernels()
        # Hides notes about missing CUDA drivers and RDMA devices; fatal messages are still shown.
        os.environ.setdefault("GLOG_minloglevel", "3")
        # Idle OpenMP threads spin 10000 times, about 250 microseconds, before they sleep: long enough from one layer
        # to the next, short enough to leave the core to OneFlow's threads.
        os.environ.setdefault("OMP_WAIT_POLICY", "active")
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        with _quiet_stderr(), _hold_signals(), _lazy_binding():
            flow = importlib.import_module("oneflow")
        protect_builds(flow)
        share_scopes(flow)
    return sys.modules["oneflow"]


def _load_cuda_libraries() -> None:
    for package, soname in CUDA_LIBRARIES:
        try:
            ctypes.CDLL(soname, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            ctypes.CDLL(str(_locate_library(package, soname)), mode=ctypes.RTLD_GLOBAL)


def _locate_library(package: str, soname: str) -> Path:
    """Return the library of the nvidia wheel or, if no GPU can be in use, a stand-in for it."""
    try:
        return _locate_in_wheels(package, soname)
    except UserError as missing:
        reason = reason_for_cuda()
        if reason:
            raise UserError(f"{missing}; {reason}, so a stand-in is used only with {SWITCH}=0") from None
        try:
            return install_stand_ins([name for _, name in CUDA_LIBRARIES]) / soname
        except NativeUnavailableError as error:
            raise UserError(f"{missing}; a stand-in cannot be built: {error}") from None


def _locate_in_wheels(package: str, soname: str) -> Path:
    for folder in sys.path:
        candidate = Path(folder) / "nvidia" / package / "lib" / soname
        if candidate.is_file():
            return candidate
    raise UserError(
        f"OneFlow needs {soname}: the system has none and the nvidia-{package}-cu11 wheel is not installed; "
        "run `make setup` and use .venv/bin/python"
    )


def _choose_blas_kernels() -> None:
    """Set the CPU type for OpenBLAS, which otherwise uses SSE kernels on CPUs newer than itself."""
    flags = processor_flags()
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    elif {"avx2", "fma"} <= flags:
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


@contextmanager
def _lazy_binding() -> Iterator[None]:
    """Have the functions of libraries resolved when they are first called.

    Python asks for all at once: of OneFlow's ninety thousand a run calls few, and the others take a quarter of the
    import.
    """
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags & ~os.RTLD_NOW | os.RTLD_LAZY)
    try:
        yield
    finally:
        sys.setdlopenflags(flags)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Point file descriptor 2 at the null device: libibverbs writes there unconditionally."""
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


@contextmanager
def _hold_signals() -> Iterator[None]:
    """Hold back the handlers of SIGINT, SIGTERM and SIGHUP until OneFlow is imported.

    OneFlow replaces the handler of SIGINT by one that exits with code 255, and what a handler raises within the import
    becomes an ImportError.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python sets handlers only in the main thread
        return
    arrived: list[int] = []
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    for each, handler in handlers.items():
        if callable(handler):
            signal.signal(each, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for each, handler in handlers.items():
            if handler is not None:  # None: the handler was not set from Python
                signal.signal(each, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for number in arrived:
        signal.raise_signal(number)
