"""PyTorch on the CPU: eager or compiled, float32 or autocast to bfloat16, default or channels_last memory format."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.protocol import Contestant, serve
from benchmarks.peers.torch_network import Network

FORMATS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}


class TorchContestant(Contestant):
    """The network, and the data of both passes."""

    def __init__(self, job: dict[str, Any]) -> None:
        torch.set_num_threads(job["threads"])
        memory_format = FORMATS[job["layout"]]
        description = json.loads(Path(job["graph"]).read_text())
        self.network = Network(description)
        with np.load(job["arrays"]) as arrays:
            self.network.load_arrays(arrays)
        self.network = self.network.to(memory_format=memory_format)
        with np.load(job["batch"]) as batch:
            self.images = torch.from_numpy(batch["images"]).contiguous(memory_format=memory_format)
            self.targets = torch.from_numpy(batch["targets"])
        self.label = f"PyTorch {torch.__version__}"
        self.embed = self.network
        if job["compiled"]:
            # What one process compiled, the next one of the same table finds here.
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(job["graph"]).with_name("compiled"))
            self.embed = torch.compile(self.network, fullgraph=True)
            self.label += ", torch.compile"
        self.reduced = job["precision"] == "bfloat16"
        self.decays = {name for name, spec in description["parameters"].items() if spec["decays"]}

    def autocast(self) -> contextlib.AbstractContextManager:
        """Return the context manager in which the network runs."""
        return torch.autocast("cpu", torch.bfloat16) if self.reduced else contextlib.nullcontext()


class Forward(TorchContestant):
    """Embeddings in inference mode."""

    def step(self) -> list[float]:
        """Return the embeddings."""
        self.network.eval()
        with torch.inference_mode(), self.autocast():
            embeddings = self.embed(self.images)
        return embeddings.float().flatten().tolist()


class Train(TorchContestant):
    """Forward, backward and torch.optim.SGD."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        self.network.train()
        tensors = self.network.tensors_by_mxnet_name()
        trainable = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
        groups = [
            {"params": [t for n, t in trainable.items() if n in self.decays], "weight_decay": job["weight_decay"]},
            {"params": [t for n, t in trainable.items() if n not in self.decays], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=job["lr"], momentum=job["momentum"])

    def step(self) -> list[float]:
        """Return the loss."""
        self.optimizer.zero_grad()
        with self.autocast():
            embeddings = self.embed(self.images)
        loss = (embeddings.float() - self.targets).square().sum() / len(self.images)
        loss.backward()
        self.optimizer.step()
        return [loss.item()]


PASSES = {"forward": Forward, "train": Train}

if __name__ == "__main__":
    serve(lambda job: PASSES[job["pass"]](job))
