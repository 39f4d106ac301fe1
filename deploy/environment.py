"""The environments in which runtimes work, and what to do if one lacks a package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SETUP = "bash tools/deploy/setup_deploy.sh"
_LOOK = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
_HERE = (".venv", ".node-deploy")  # Node.js is started from the project's own environment


class Environment(NamedTuple):
    """A folder with packages below the repository, of Python or of Node.js, and the command that makes it."""

    folder: str
    setup: str

    @property
    def python(self) -> Path:
        """The interpreter; that of this process for the project's own environment and for Node.js."""
        return Path(sys.executable) if self.folder in _HERE else ROOT / self.folder / "bin" / "python"

    def has(self, package: str) -> bool:
        """Tell whether a package is installed."""
        if self == NODE:
            return shutil.which("node") is not None and (ROOT / self.folder / "node_modules" / package).is_dir()
        command = [self.python, "-c", _LOOK, package]
        return self.python.is_file() and not subprocess.run(command, check=False).returncode


PROJECT = Environment(".venv", "bash tools/setup.sh")
DEPLOY = Environment(".venv-deploy", SETUP)
TFLITE = Environment(".venv-tflite", f"{SETUP} tflite")
OPENCV4 = Environment(".venv-opencv4", f"{SETUP} opencv4")
OPENCV5 = Environment(".venv-opencv5", f"{SETUP} opencv5")
NODE = Environment(
    ".node-deploy", "npm install --ignore-scripts --prefix .node-deploy onnxruntime-web@1.30.0 (with Node.js 20)"
)
PEERS = Environment(
    ".venv-peers",
    "bash benchmarks/setup_peers.sh, and install onnx2torch==1.5.15 there (--no-deps) with a torchvision built for its "
    "PyTorch",
)


class MissingPackage(UserError):
    """A runtime's environment or package is not installed; the message names the command that installs it."""

    def __init__(self, package: str, environment: Environment) -> None:
        super().__init__(f"{package} is not installed in {environment.folder}; run: {environment.setup}")
