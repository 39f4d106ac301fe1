"""The machine's limit, without a framework: the network's convolutions alone on oneDNN (conv_limit.cpp)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.network import list_convolutions
from benchmarks.peers.protocol import Contestant, serve

SOURCE = Path(__file__).resolve().parents[1] / "limit" / "conv_limit.cpp"
TYPES = {"float32": "f32", "bfloat16": "bf16"}
FIELDS = ("channels", "size", "filters", "kernel", "stride", "pad", "groups", "times", "first")


def build_program(folder: Path) -> Path:
    """Compile the program into ``folder``, if it is missing, against the oneDNN wheels of this environment."""
    program, prefix = folder / "conv_limit", Path(sys.prefix)
    if not program.is_file():
        library = prefix / "lib" / "libdnnl.so.3"
        command = ["g++", "-std=c++17", "-O2", "-fopenmp", f"-I{prefix / 'include'}", str(SOURCE), str(library)]
        subprocess.run([*command, f"-Wl,-rpath,{library.parent}", "-o", str(program)], check=True)
    return program


class ConvolutionLimit(Contestant):
    """One step is one measurement of all convolutions; it has no results to compare."""

    def __init__(self, job: dict[str, Any]) -> None:
        convolutions = list_convolutions(json.loads(Path(job["graph"]).read_text()))
        self._shapes = "".join(
            " ".join(str(value) for value in (job["size"], *(shape[key] for key in FIELDS))) + "\n"
            for shape in convolutions
        )
        program = build_program(Path(job["graph"]).parent)
        self._command = [str(program), TYPES[job["precision"]], job["pass"]]
        self.label = "convolutions alone, oneDNN"

    def check(self, steps: int) -> list[float]:
        """Return nothing."""
        return []

    def step(self) -> list[float]:
        """Not used: the compiled program measures the times."""
        raise NotImplementedError

    def measure(self, seconds: float) -> list[float]:
        """Return the sum of the shortest times of all convolutions, measured for about ``seconds``.

        Raises:
            RuntimeError: oneDNN cannot compute them here, such as bfloat16 without AVX-512.
        """
        result = subprocess.run([*self._command, str(seconds)], input=self._shapes, text=True, capture_output=True)
        if result.returncode:
            raise RuntimeError(result.stderr.strip() or f"conv_limit ended with exit code {result.returncode}")
        return [float(result.stdout)]


if __name__ == "__main__":
    serve(ConvolutionLimit)
