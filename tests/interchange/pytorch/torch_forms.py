"""Writes what users of PyTorch's trainers have on disk, run by PyTorch's own Python: ``torch_forms.py FOLDER``.

FOLDER/images.npy holds images, float32 [N, 3, 112, 112], 0..255. What each network makes of them goes to
``embeddings.npz``, by the network's name, and ``rows.npy`` holds the class rows.
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from tests.interchange.pytorch.torch_networks import IR, BlockMobileFaceNet, IResNet, MobileFaceNet
from tests.interchange.pytorch.torch_program import draw_weights

EMBEDDING, CLASSES, RANKS, UNITS = 32, 30, 8, (2, 2, 2, 2)
OLD = {"_use_new_zipfile_serialization": False}  # as torch wrote before 1.6


class Callback:
    """An object of the trainer's own, in its checkpoint."""

    def __init__(self) -> None:
        self.best = torch.zeros(3)


def make_networks() -> dict[str, nn.Module]:
    """Return the networks by name, in inference, with weights that could have been trained."""
    networks = {
        "mbf": MobileFaceNet((1, 4, 6, 2), 1),
        "block": BlockMobileFaceNet(EMBEDDING),
        "ir": IR(UNITS, norm=True, se=False, size=EMBEDDING),
        "irse": IR(UNITS, norm=True, se=True, size=EMBEDDING),
        "evolve": IR(UNITS, norm=False, se=False, size=EMBEDDING),
        "evolve_se": IR(UNITS, norm=False, se=True, size=EMBEDDING),
    }
    for network in networks.values():
        draw_weights(network)
    return {name: network.eval() for name, network in networks.items()}


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


def optimizer_state(state: dict[str, torch.Tensor]) -> dict:
    parameters = [nn.Parameter(value.clone()) for value in state.values() if value.dtype == torch.float32]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    for parameter in parameters:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer.state_dict()


def save_mbf(folder: Path, network: nn.Module, rows: torch.Tensor) -> None:
    """Save arcface_torch's MobileFaceNet in all forms that do not depend on the network."""
    state = network.state_dict()
    floats = {name: value for name, value in state.items() if value.dtype == torch.float32}
    torch.save(state, folder / "plain.pth")
    torch.save(prefixed(state, "module."), folder / "ddp.pth")
    torch.save(prefixed(state, "_orig_mod.module."), folder / "compiled.pth")
    torch.save({"state_dict": prefixed(state, "feat_net.")}, folder / "feat_net.pt")
    torch.save({"model": {"state_dict": prefixed(state, "backbone.net.")}}, folder / "nested.pt")
    facex = {**prefixed(state, "backbone."), "head.weight": rows.T.contiguous()}
    torch.save({"state_dict": facex, "epoch": 3, "batch_id": 100}, folder / "facexzoo.pt")
    torch.save({"state_dict": prefixed(facex, "module."), "epoch": 3, "batch_id": 1}, folder / "facexzoo_dp.pt")
    torch.save({**prefixed(state, "backbone."), "fc.weight": rows, "fc.bias": rows[:, 0]}, folder / "softmax.pth")
    torch.save(state, folder / "legacy.pth", **OLD)
    torch.save({"net": network, "epoch": 1}, folder / "legacy_model.pth", **OLD)
    torch.save({name: value.half() if name in floats else value for name, value in state.items()}, folder / "half.pth")
    torch.save({name: value.bfloat16() for name, value in floats.items()}, folder / "bfloat16.pth")
    torch.save({name: nn.Parameter(value) for name, value in floats.items()}, folder / "parameters.pth")
    torch.save(floats, folder / "no_counters.pth")
    torch.save(network, folder / "model.pth")
    torch.save(nn.DataParallel(network), folder / "dp_model.pth")
    torch.jit.save(torch.jit.script(network), folder / "scripted.pt")
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 3, 112, 112)), folder / "traced.pt")
    save_file(prefixed(state, "model.backbone."), folder / "prefixed.safetensors")
    for rank, piece in enumerate(torch.tensor_split(rows, RANKS)):
        torch.save(
            {
                "epoch": 1,
                "global_step": 8,
                "state_dict_backbone": state,
                "state_dict_softmax_fc": {"weight": piece.clone()},
                "state_optimizer": optimizer_state(state),
                "state_lr_scheduler": {"power": 2, "base_lrs": [0.1]},
            },
            folder / f"checkpoint_gpu_{rank}.pt",
        )
        (folder / "ranks").mkdir(exist_ok=True)
        torch.save(piece.clone(), folder / f"ranks/rank_{rank}_softmax_weight.pt")
        torch.save(torch.zeros_like(piece), folder / f"ranks/rank_{rank}_softmax_weight_mom.pt")
    torch.save(state, folder / "ranks/backbone.pth")


def save_refused(folder: Path, state: dict[str, torch.Tensor]) -> None:
    """Save what is not a network here."""
    name = "features.layers.2.weight"
    torch.save({**state, name: state[name][:, :100].clone()}, folder / "cut.pth")
    torch.save({**prefixed(state, "student."), **prefixed(state, "teacher.")}, folder / "two.pth")
    torch.save({"state_optimizer": optimizer_state(state)}, folder / "optimizer.pt")
    torch.save(nn.Sequential(nn.Conv2d(3, 8, 3)), folder / "other_model.pth")
    torch.save({**state, "extra.weight": torch.zeros(3, 3)}, folder / "extra.pth")
    torch.save(IResNet((2, 2, 2, 1)).state_dict(), folder / "depth.pth")


def main() -> None:
    """Save all of it in the folder of the command line."""
    folder = Path(sys.argv[1])
    networks = make_networks()
    rows = torch.randn(CLASSES, 512, generator=torch.Generator().manual_seed(1))
    np.save(folder / "rows.npy", rows.numpy())
    save_mbf(folder, networks["mbf"], rows)
    save_refused(folder, networks["mbf"].state_dict())
    states = {name: network.state_dict() for name, network in networks.items()}
    head = {
        "kernel": rows[:, :EMBEDDING].T,
        "t": torch.zeros(1),
        "batch_mean": torch.tensor(21.5),
        "batch_std": torch.tensor(7.0),
    }
    lightning = {
        "epoch": 25,
        "pytorch-lightning_version": "1.8.4",
        "state_dict": {**prefixed(states["ir"], "model."), **prefixed(head, "head.")},
        "optimizer_states": [optimizer_state({"a": rows})],
        "lr_schedulers": [{"milestones": collections.Counter({12: 1}), "gamma": 0.1}],
        "callbacks": {"checkpoint": Callback()},
        "hyper_parameters": argparse.Namespace(arch="ir_18"),
    }
    torch.save(lightning, folder / "adaface.ckpt")
    torch.save(prefixed(states["irse"], "net."), folder / "cvlface.pt")
    torch.save(states["evolve"], folder / "evolve.pth", **OLD)
    torch.save(states["evolve_se"], folder / "evolve_se.pth")
    torch.save({"state_dict": prefixed(states["block"], "backbone.")}, folder / "facexzoo_mobile.pt")
    images = (torch.from_numpy(np.load(folder / "images.npy")) - 127.5) / 127.5
    with torch.no_grad():
        np.savez(folder / "embeddings.npz", **{name: network(images).numpy() for name, network in networks.items()})


if __name__ == "__main__":
    main()
