from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.image import encode_jpeg
from data.recordio.writer import write_insightface_recordio
from data.sources.synthetic import SyntheticSource

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run_tool() -> Callable[..., subprocess.CompletedProcess]:
    """Run a converter as a user does: a script, from the repository root."""

    def run(name: str, **flags: object) -> subprocess.CompletedProcess:
        command = [sys.executable, f"tools/dataset_convert/{name}.py"]
        for flag, value in flags.items():
            command += [f"--{flag}", str(value)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def faces() -> list[tuple[bytes, int]]:
    """(encoded image, class) of 9 small images of 3 classes, ordered by class."""
    source = SyntheticSource(9, 3, image_size=32)
    return sorted(
        ((encode_jpeg(image), label) for image, label in map(source.read, range(9))), key=lambda face: face[1]
    )


@pytest.fixture
def recordio_dir(tmp_path: Path, faces: list[tuple[bytes, int]]) -> Path:
    """A folder with train.rec, train.idx and property."""
    write_insightface_recordio(tmp_path / "faces", faces, 3, 32)
    return tmp_path / "faces"
