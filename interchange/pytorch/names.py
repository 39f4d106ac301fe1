"""The names of our arrays in PyTorch's networks: arcface_torch's, and those of the trainers around face.evoLVe."""

from __future__ import annotations

import re
from collections.abc import Callable

from backbones.graph.network_graph import NetworkGraph, Node
from interchange.pytorch.checkpoint import COUNTER

PARTS = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "slope": "weight",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}
ModuleName = Callable[[str], str | None]  # from the name of a node to that of its module

_IRESNET = {"conv0": "conv1", "bn0": "bn1", "relu0": "prelu", "bn1": "bn2", "pre_fc1": "fc", "fc1": "features"}
_UNIT = {"relu1": "prelu", "conv1sc": "downsample.0", "sc": "downsample.1"}
_IR = {
    "conv0": "input_layer.0",
    "bn0": "input_layer.1",
    "relu0": "input_layer.2",
    "bn1": "output_layer.0",
    "pre_fc1": "output_layer.3",
    "fc1": "output_layer.4",
}
_IR_SHORTCUT = {"conv1sc": "shortcut_layer.0", "sc": "shortcut_layer.1"}
# Places in res_layer: with a BatchNorm between the first convolution and the PReLU, and without.
_IR_UNIT = {"bn1": "0", "conv1": "1", "bn2": "2", "relu1": "3", "conv2": "4", "bn3": "5"}
_IR_SE = {"se_conv1": "se_block.fc1", "se_conv2": "se_block.fc2"}
_PLAIN_UNIT = {"bn1": "0", "conv1": "1", "relu1": "2", "conv2": "3", "bn3": "4"}
_PLAIN_SE = {"se_conv1": "5.fc1", "se_conv2": "5.fc2"}
_MBF_PLACES = {
    "conv_1": "layers.0",
    "conv_2_dw": "layers.1",
    "res_2": "layers.1",
    "dconv_23": "layers.2",
    "res_3": "layers.3",
    "dconv_34": "layers.4",
    "res_4": "layers.5",
    "dconv_45": "layers.6",
    "res_5": "layers.7",
    "conv_6sep": "conv_sep",
    "conv_6dw7_7": "features.layers.0",
}
_MBF_TOP = {"pre_fc1": "features.layers.2", "fc1": "features.layers.3"}
_MBF_STAGES = {"conv_sep": 0, "conv_dw": 1, "conv_proj": 2}
_MBF_KINDS = {"conv2d": 0, "batchnorm": 1, "relu": 2}
_BLOCK_PLACES = {
    "conv_1": "conv1",
    "conv_2_dw": "conv2_dw",
    "dconv_23": "conv_23",
    "res_3": "conv_3",
    "dconv_34": "conv_34",
    "res_4": "conv_4",
    "dconv_45": "conv_45",
    "res_5": "conv_5",
    "conv_6sep": "conv_6_sep",
    "conv_6dw7_7": "conv_6_dw",
}
_BLOCK_TOP = {"pre_fc1": "linear", "fc1": "bn"}
_BLOCK_STAGES = {"conv_sep": "conv", "conv_dw": "conv_dw", "conv_proj": "project"}
_BLOCK_KINDS = {"conv2d": "conv", "batchnorm": "bn", "relu": "prelu"}
_UNIT_NODE = re.compile(r"stage(\d+)_unit(\d+)_(\w+)$")
_MBF_NODE = re.compile(r"(\w+?)(?:_block(\d+))?(?:_(conv_sep|conv_dw|conv_proj))?_(conv2d|batchnorm|relu)$")


def iresnet_module(node: str) -> str | None:
    """Return the module of a node in arcface_torch's iresnet."""
    unit = _UNIT_NODE.match(node)
    if unit:
        return f"layer{unit[1]}.{int(unit[2]) - 1}.{_UNIT.get(unit[3], unit[3])}"
    return _IRESNET.get(node)


def mbf_module(node: str) -> str | None:
    """Return the module of a node in arcface_torch's MobileFaceNet."""
    if node in _MBF_TOP:
        return _MBF_TOP[node]
    match = _MBF_NODE.match(node)
    if match is None or match[1] not in _MBF_PLACES:
        return None
    place = _MBF_PLACES[match[1]]
    place += f".layers.{match[2]}" if match[2] else ""
    place += f".layers.{_MBF_STAGES[match[3]]}" if match[3] else ""
    return f"{place}.layers.{_MBF_KINDS[match[4]]}"


def ir_module(units: tuple[int, ...], has_norm: bool) -> ModuleName:
    """Return the modules of IR and IR-SE networks, whose ``body`` counts the units of all stages.

    Args:
        units: units of each stage.
        has_norm: whether a BatchNorm follows the first convolution of a unit: AdaFace's, TFace's and CVLFace's have it,
            face.evoLVe's, InsightFace_Pytorch's and FaceX-Zoo's do not.
    """
    places = (_IR_UNIT | _IR_SE) if has_norm else (_PLAIN_UNIT | _PLAIN_SE)

    def module(node: str) -> str | None:
        unit = _UNIT_NODE.match(node)
        if unit is None:
            return _IR.get(node)
        place = _IR_SHORTCUT.get(unit[3]) or (f"res_layer.{places[unit[3]]}" if unit[3] in places else None)
        return place and f"body.{sum(units[: int(unit[1]) - 1]) + int(unit[2]) - 1}.{place}"

    return module


def block_module(node: str) -> str | None:
    """Return the module of a node in the MobileFaceNet of InsightFace_Pytorch, face.evoLVe and FaceX-Zoo."""
    if node in _BLOCK_TOP:
        return _BLOCK_TOP[node]
    match = _MBF_NODE.match(node)
    if match is None or match[1] not in _BLOCK_PLACES:
        return None
    place = _BLOCK_PLACES[match[1]]
    place += f".model.{match[2]}" if match[2] else ""
    place += f".{_BLOCK_STAGES[match[3]]}" if match[3] else ""
    return f"{place}.{_BLOCK_KINDS[match[4]]}"


def torch_names(network: NetworkGraph, module: ModuleName) -> dict[str, str] | None:
    """Return PyTorch's name for each of our arrays; None if a node has no module."""
    names = {}
    for node in network.nodes:
        for part, array in node.arrays.items():
            place = module(node.name)
            if place is None:
                return None
            names[array] = f"{place}.{PARTS[part]}"
    return names


def norm_counters(network: NetworkGraph, names: dict[str, str]) -> list[str]:
    """Return the names of the step counters that PyTorch's BatchNorms have in addition."""
    norms: list[Node] = [node for node in network.nodes if node.op == "batch_norm"]
    return [names[node.arrays["moving_mean"]].replace(".running_mean", f".{COUNTER}") for node in norms]
