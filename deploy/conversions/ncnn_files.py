"""ONNX to ncnn's FILE.param and FILE.bin, by pnnx."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path


def convert(source: str, target: str, half: bool = True) -> dict[str, str]:
    """Write ``target`` and the .bin beside it.

    Args:
        source: the ONNX file.
        target: the .param file to write.
        half: store weights as float16.

    Raises:
        ModuleNotFoundError: pnnx is not installed.
        RuntimeError: pnnx ended with an error or wrote no network.
    """
    package = importlib.util.find_spec("pnnx")  # importing it needs PyTorch, its program does not
    if package is None:
        raise ModuleNotFoundError("No module named 'pnnx'", name="pnnx")
    program = Path(package.submodule_search_locations[0]) / "pnnx"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(source, Path(folder) / "model.onnx")
        command = [str(program), "model.onnx", f"fp16={int(half)}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        files = [Path(folder) / f"model.ncnn.{suffix}" for suffix in ("param", "bin")]
        if done.returncode or not all(file.is_file() for file in files):
            lines = (done.stderr + done.stdout).strip().splitlines()
            raise RuntimeError(f"pnnx ended with code {done.returncode}: {lines[-1] if lines else 'no message'}")
        for file, name in zip(files, (Path(target), Path(target).with_suffix(".bin")), strict=True):
            shutil.copyfile(file, name)
    return {}
