"""The names of our arrays in InsightFace's PyTorch networks (arcface_torch)."""

from __future__ import annotations

import re
from collections.abc import Callable

from backbones.graph.network_graph import NetworkGraph, Node

PARTS = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "slope": "weight",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}
COUNTER = "num_batches_tracked"

_IRESNET = {"conv0": "conv1", "bn0": "bn1", "relu0": "prelu", "bn1": "bn2", "pre_fc1": "fc", "fc1": "features"}
_UNIT = {"relu1": "prelu", "conv1sc": "downsample.0", "sc": "downsample.1"}
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
_UNIT_NODE = re.compile(r"stage(\d+)_unit(\d+)_(\w+)$")
_MBF_NODE = re.compile(r"(\w+?)(?:_block(\d+))?(?:_(conv_sep|conv_dw|conv_proj))?_(conv2d|batchnorm|relu)$")


def _iresnet(node: str) -> str | None:
    unit = _UNIT_NODE.match(node)
    if unit:
        return f"layer{unit[1]}.{int(unit[2]) - 1}.{_UNIT.get(unit[3], unit[3])}"
    return _IRESNET.get(node)


def _mbf(node: str) -> str | None:
    if node in _MBF_TOP:
        return _MBF_TOP[node]
    match = _MBF_NODE.match(node)
    if match is None or match[1] not in _MBF_PLACES:
        return None
    place = _MBF_PLACES[match[1]]
    place += f".layers.{match[2]}" if match[2] else ""
    place += f".layers.{_MBF_STAGES[match[3]]}" if match[3] else ""
    return f"{place}.layers.{_MBF_KINDS[match[4]]}"


FAMILIES: tuple[Callable[[str], str | None], ...] = (_iresnet, _mbf)


def torch_names(network: NetworkGraph) -> dict[str, str] | None:
    """Return PyTorch's name for each of our arrays; None if arcface_torch does not have the network's family."""
    for family in FAMILIES:
        names = {}
        for node in network.nodes:
            for part, array in node.arrays.items():
                module = family(node.name)
                names[array] = f"{module}.{PARTS[part]}" if module else None
        if names and None not in names.values():
            return names
    return None


def norm_counters(network: NetworkGraph, names: dict[str, str]) -> list[str]:
    """Return the names of the step counters that PyTorch's BatchNorms have in addition."""
    norms: list[Node] = [node for node in network.nodes if node.op == "batch_norm"]
    return [names[node.arrays["beta"]].replace(".bias", f".{COUNTER}") for node in norms]
