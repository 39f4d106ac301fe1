"""Build a PyTorch module from a described network, with PyTorch's standard layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


class ScaleShift(nn.Module):
    """(x - mean) * scale."""

    def __init__(self, mean: float, scale: float) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the preprocessed images."""
        return (x - self.mean) * self.scale


class Add(nn.Module):
    """The sum of two values."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return a + b."""
        return a + b


def _conv(attrs: Mapping[str, Any], channels: int) -> nn.Module:
    return nn.Conv2d(
        channels,
        attrs["filters"],
        attrs["kernel"],
        attrs["stride"],
        attrs["pad"],
        groups=attrs["groups"],
        bias=attrs["bias"],
    )


def _batch_norm(attrs: Mapping[str, Any], channels: int, flat: bool) -> nn.Module:
    kind = nn.BatchNorm1d if flat else nn.BatchNorm2d
    module = kind(channels, eps=attrs["eps"], momentum=1 - attrs["momentum"])
    module.weight.requires_grad_(not attrs["fix_gamma"])
    return module


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
# From a node's constants and the shape of its input to a module.
LAYERS: dict[str, Callable[[Mapping[str, Any], list[int]], nn.Module]] = {
    "scale_shift": lambda attrs, shape: ScaleShift(attrs["mean"], attrs["scale"]),
    "conv": lambda attrs, shape: _conv(attrs, shape[0]),
    "batch_norm": lambda attrs, shape: _batch_norm(attrs, shape[0], len(shape) == 1),
    "prelu": lambda attrs, shape: nn.PReLU(shape[0]),
    "activation": lambda attrs, shape: ACTIVATIONS[attrs["kind"]](),
    "add": lambda attrs, shape: Add(),
    "flatten": lambda attrs, shape: nn.Flatten(),
    "fully_connected": lambda attrs, shape: nn.Linear(shape[0], attrs["units"]),
}
# From the ending of an MXNet name to PyTorch's, for layers where they differ.
NAMES = {
    "batch_norm": {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_var": "running_var"},
    "prelu": {"gamma": "weight"},
}


class Network(nn.Module):
    """Images [N, 3, S, S] to embeddings [N, E], node by node."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        """Build the layers of ``description`` (see ``benchmarks.network.describe_network``)."""
        super().__init__()
        self.nodes = [node for node in description["nodes"] if node["op"] != "input"]
        self.image, self.output = description["nodes"][0]["name"], description["output"]
        shapes = {node["name"]: node["shape"] for node in description["nodes"]}
        self.layers = nn.ModuleDict(
            {node["name"]: LAYERS[node["op"]](node["attrs"], shapes[node["inputs"][0]]) for node in self.nodes}
        )
        last_use = {name: node["name"] for node in self.nodes for name in node["inputs"]}
        self.releases = {user: [n for n, u in last_use.items() if u == user] for user in last_use.values()}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the embeddings."""
        values = {self.image: images}
        for node in self.nodes:
            name = node["name"]
            values[name] = self.layers[name](*(values[x] for x in node["inputs"]))
            for unused in self.releases.get(name, ()):
                del values[unused]
        return values[self.output]

    def tensors_by_mxnet_name(self) -> dict[str, torch.Tensor]:
        """Return the parameters and statistics, not copied, under the names of the description."""
        found = {}
        for node in self.nodes:
            names = {ours: theirs for theirs, ours in NAMES.get(node["op"], {}).items()}
            layer = self.layers[node["name"]]
            for key, tensor in layer.state_dict(keep_vars=True).items():
                if key != "num_batches_tracked":
                    found[f"{node['name']}_{names.get(key, key)}"] = tensor
        return found

    @torch.no_grad()
    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copy every array into the tensor of the same name.

        Raises:
            ValueError: arrays and tensors do not have the same names.
        """
        tensors = self.tensors_by_mxnet_name()
        if set(tensors) != set(arrays.keys()):
            raise ValueError(f"parameters differ: {sorted(set(tensors) ^ set(arrays.keys()))[:3]}")
        for name, tensor in tensors.items():
            tensor.copy_(torch.from_numpy(arrays[name]))
