"""OpenVINO on the CPU: inference of the project's own ONNX export, compiled for the batch; float32 or bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino

from benchmarks.peers.protocol import Contestant, serve

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINOContestant(Contestant):
    """A compiled model and one batch."""

    def __init__(self, job: dict[str, Any]) -> None:
        with np.load(job["batch"]) as batch:
            self.images = batch["images"]
        core = openvino.Core()
        model = core.read_model(job["onnx"])
        model.reshape(self.images.shape)
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[job["precision"]],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": job["threads"],
            "ENABLE_HYPER_THREADING": True,
        }
        self.model = core.compile_model(model, "CPU", settings)
        chosen = self.model.get_property("INFERENCE_PRECISION_HINT").to_string()
        if chosen != PRECISIONS[job["precision"]]:
            raise RuntimeError(f"OpenVINO computes in {chosen} here, not in {job['precision']}")
        self.label = f"OpenVINO {openvino.__version__.split('-')[0]}"

    def step(self) -> list[float]:
        """Return the embeddings."""
        return self.model(self.images)[0].ravel().tolist()


if __name__ == "__main__":
    serve(OpenVINOContestant)
