"""A worker that fails, crashes, hangs or is not there becomes one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.environment import PROJECT, Environment, MissingPackage
from deploy.registry import ONNXRUNTIME, Runtime
from deploy.worker_client import RuntimeFault, Worker


def stand_in(folder: Path, script: str) -> Environment:
    """An environment whose Python is a shell script."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Environment(str(folder), "make it")


def ask(environment: Environment, timeout: float = 60) -> None:
    with Worker("runtimes.ort", "onnxruntime", environment) as worker:
        worker.ask("load", timeout, path="nowhere.onnx", size=112, threads=1, options={}, package="onnxruntime")


def test_a_fault_of_the_runtime_is_its_message() -> None:
    with pytest.raises(RuntimeFault, match=r"onnxruntime: .*nowhere\.onnx"):
        ask(PROJECT)


def test_an_end_names_code_or_signal_and_the_last_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFault, match="onnxruntime: its process ended with exit code 3 after: no such layer"):
        ask(stand_in(tmp_path, "echo no such layer >&2; exit 3"))


def test_a_crash_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFault, match="its process ended with SIGSEGV"):
        ask(stand_in(tmp_path, "kill -SEGV $$"))


def test_a_hanging_runtime_is_ended(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFault, match="no answer within 0.2 s"):
        ask(stand_in(tmp_path, "exec sleep 60"), timeout=0.2)


def test_a_missing_environment_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingPackage, match="is not installed in .*; run: make it"):
        ask(Environment(str(tmp_path / "none"), "make it"))


def test_a_missing_package_names_the_command() -> None:
    ONNXRUNTIME.require()
    with pytest.raises(MissingPackage, match=r"no_such_package is not installed in \.venv; run: bash tools/setup\.sh"):
        Runtime("runtimes.ort", "no_such_package", PROJECT).require()
