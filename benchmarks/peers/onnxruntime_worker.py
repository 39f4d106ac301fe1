"""onnxruntime on the CPU: inference of the project's own ONNX export, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from benchmarks.peers.protocol import Contestant, serve


class OnnxruntimeContestant(Contestant):
    """An inference session and one batch."""

    def __init__(self, job: dict[str, Any]) -> None:
        with np.load(job["batch"]) as batch:
            self.images = batch["images"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job["threads"]
        self.session = onnxruntime.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
        self.label = f"onnxruntime {onnxruntime.__version__}"

    def step(self) -> list[float]:
        """Return the embeddings."""
        (embeddings,) = self.session.run(None, {self.session.get_inputs()[0].name: self.images})
        return embeddings.ravel().tolist()


if __name__ == "__main__":
    serve(OnnxruntimeContestant)
