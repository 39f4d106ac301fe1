"""What a user of PyTorch does, run by PyTorch's own Python: ``export NETWORK FOLDER`` or ``embed NETWORK FOLDER FILE``.

``export`` saves a network with weights as a training leaves them in all ways that PyTorch has, and what it makes of
FOLDER/images.npy. ``embed`` loads a state dict, every name of which must fit, and embeds the same images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import nn

from tests.interchange.pytorch.torch_networks import make_network


def draw_weights(network: nn.Module) -> None:
    """Fill in weights, slopes and statistics that could have been trained."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
    if isinstance(getattr(network, "features", None), nn.BatchNorm1d):
        nn.init.ones_(network.features.weight)  # arcface_torch's iresnet holds it there


def save(network: nn.Module, folder: Path) -> None:
    """Save the state dict in both formats and the graph by both exporters, BatchNorm folded and not."""
    torch.save(network.state_dict(), folder / "backbone.pth")
    save_file(network.state_dict(), folder / "backbone.safetensors")
    image = torch.zeros(1, 3, 112, 112)
    options = {"input_names": ["data"], "opset_version": 13, "dynamo": False}
    torch.onnx.export(network, (image,), folder / "folded.onnx", **options)
    preserve = torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(network, (image,), folder / "plain.onnx", **options, training=preserve)
    torch.onnx.export(network, (image,), folder / "pieces.onnx", input_names=["data"], dynamo=True)
    model = onnx.load(folder / "pieces.onnx")  # arcface_torch's torch2onnx.py does so, too
    onnx.save(model, folder / "new.onnx")


def main() -> None:
    """Run the command of the command line."""
    task, name, folder, *file = sys.argv[1:]
    network, folder = make_network(name), Path(folder)
    images = (torch.from_numpy(np.load(folder / "images.npy")) - 127.5) / 127.5
    if task == "export":
        draw_weights(network)
        save(network, folder)
    else:
        network.load_state_dict(torch.load(file[0], weights_only=True), strict=True)
    with torch.no_grad():
        np.save(folder / f"{task}.npy", network(images).numpy())


if __name__ == "__main__":
    main()
