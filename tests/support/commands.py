"""The project's commands as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from data.verification.bin_file import read_bin, write_bin

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, folder: Path, code: int = 0, timeout: float = 400) -> subprocess.CompletedProcess:
    """Run a script of the repository with its flags in ``folder``, and check its exit code."""
    script, *rest = command
    result = subprocess.run(
        [sys.executable, str(ROOT / script), *rest], cwd=folder, capture_output=True, text=True, timeout=timeout
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result


def prepare_orl(folder: Path, pair_step: int = 1) -> None:
    """Write the ORL faces below ``folder`` as ``make demo`` does: recordio, and OFRecord parts.

    Of the pairs for verification each ``pair_step``-th is kept.
    """
    faces, converters = "datasets/faces_orl", "tools/dataset_convert"
    run(f"{converters}/orl_2_recordio.py", "--output_dir", faces, folder=folder)
    images, same = read_bin(folder / faces / "orl.bin")
    pairs = range(0, len(same), pair_step)
    write_bin(folder / faces / "orl.bin", [images[2 * i + j] for i in pairs for j in (0, 1)], [same[i] for i in pairs])
    run(
        f"{converters}/mx_recordio_2_ofrecord.py",
        "--data_dir",
        faces,
        "--output_filepath",
        f"{faces}/ofrecord/train",
        folder=folder,
    )
    run(
        f"{converters}/bin_2_ofrecord.py",
        "--data_dir",
        faces,
        "--output_filepath",
        f"{faces}/ofrecord/orl",
        "--dataset_name",
        "orl",
        folder=folder,
    )
