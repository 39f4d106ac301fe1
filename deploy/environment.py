"""The environments in which runtimes work, and what to do if one lacks a package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SETUP = "bash tools/deploy/setup_deploy.sh"


class Environment(NamedTuple):
    """A folder with a Python of its own below the repository, and the command that makes it."""

    folder: str
    setup: str

    @property
    def python(self) -> Path:
        """The interpreter; that of this process for the project's own environment."""
        return Path(sys.executable) if self.folder == ".venv" else ROOT / self.folder / "bin" / "python"


PROJECT = Environment(".venv", "bash tools/setup.sh")
DEPLOY = Environment(".venv-deploy", SETUP)
TFLITE = Environment(".venv-tflite", f"{SETUP} tflite")
OPENCV4 = Environment(".venv-opencv4", f"{SETUP} opencv4")
OPENCV5 = Environment(".venv-opencv5", f"{SETUP} opencv5")
PEERS = Environment(
    ".venv-peers",
    "bash benchmarks/setup_peers.sh, and install onnx2torch==1.5.15 there (--no-deps) with a torchvision built for its "
    "PyTorch",
)


class MissingPackage(UserError):
    """A runtime's environment or package is not installed; the message names the command that installs it."""

    def __init__(self, package: str, environment: Environment) -> None:
        super().__init__(f"{package} is not installed in {environment.folder}; run: {environment.setup}")
