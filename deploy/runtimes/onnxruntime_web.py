"""ONNX in onnxruntime-web, as browsers run it: WebAssembly, here in Node.js."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import numpy as np

from deploy.runtimes.loaded import Loaded

_PROGRAM = Path(__file__).with_suffix(".mjs")
_PACKAGES = Path(__file__).resolve().parents[2] / ".node-deploy" / "node_modules"


class _Node:
    """A process of Node.js with one model, which ends with this process."""

    def __init__(self, path: str, threads: int) -> None:
        command = ["node", _PROGRAM, _PACKAGES, path, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._seconds = 0.0
        self.version = self._read()["version"]

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "Node.js has ended"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed images float32 [B, 3, S, S]; return float32 [B, E]."""
        self._process.stdin.write(json.dumps({"shape": images.shape}).encode() + b"\n")
        self._process.stdin.write(np.ascontiguousarray(images, "<f4").tobytes())
        self._process.stdin.flush()
        answer = self._read()
        self._seconds = answer["seconds"]
        count = int(np.prod(answer["shape"]))
        return np.frombuffer(self._process.stdout.read(4 * count), "<f4").reshape(answer["shape"])

    def processor_seconds(self) -> float:
        """Return the processor time of both processes."""
        return time.process_time() + self._seconds


def load(path: str, size: int, threads: int) -> Loaded:
    """Load an ONNX file, float or int8, of any batch size."""
    node = _Node(path, threads)
    return Loaded(node.embed, processor_seconds=node.processor_seconds, version=node.version)
