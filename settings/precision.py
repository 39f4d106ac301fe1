"""``use_fp16`` and the transfers between GPUs: what they mean on the device of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from backbones.graph.network_graph import NetworkGraph
from backbones.graph.nodes import COMPILED_OPS
from common.errors import UserError
from settings.config import Config

# Those of oneflow.amp.GradScaler.
_FIRST_SCALE = 2.0**16
_SCALE_WINDOW = 2000
_TRANSFERS = ("nccl_fusion_threshold_mb", "nccl_fusion_max_ops")


def find_float_layers(network: NetworkGraph) -> list[str]:
    """Return the kinds of layers that the CPU kernels do not know, which therefore have no bfloat16."""
    return sorted({node.layer for node in network.nodes} - set(COMPILED_OPS))


def find_obstacle(config: Mapping[str, Any], ranks: int, network: NetworkGraph) -> str:
    """Return why a run on a CPU computes in float32, empty if it need not."""
    if not config["native_ops"]:
        return "--native_ops 0 computes in float32"
    if config["sync_bn"] and ranks > 1:
        return "--sync_bn 1 on several ranks computes in float32"
    layers = find_float_layers(network)
    if layers:
        return f"network {config['network']} computes in float32 on a CPU, whose kernels lack {', '.join(layers)}"
    return ""


def resolve_precision(config: Config, ranks: int, network: NetworkGraph) -> Config:
    """Return ``config`` with what ``use_fp16`` stands for on its ``device``.

    On GPUs: OneFlow's automatic mixed precision, with a loss scale that moves unless there is one of the user's own. On
    a CPU: ``use_bf16``, whose range is float32's, where there is no obstacle to it.
    """
    if not config["use_fp16"]:
        return config
    if config["device"] != "cpu":
        if config["fp16_scale"] in (0.0, 1.0) and not config["fp16_scale_window"]:
            return config.replaced(fp16_scale=_FIRST_SCALE, fp16_scale_window=_SCALE_WINDOW)
        return config
    return config if find_obstacle(config, ranks, network) else config.replaced(use_bf16=True)


def describe_precision(config: Mapping[str, Any], ranks: int, network: NetworkGraph) -> list[str]:
    """Return what there is to say about a run's number formats, a line each; ``config`` is complete."""
    if not config["use_fp16"]:
        if config["fp16_scale"] in (0.0, 1.0):
            return []
        return [f"--fp16_scale {config['fp16_scale']:g} scales the loss alone; --use_fp16 1 computes in half precision"]
    if config["device"] != "cpu":
        return [
            f"--use_fp16 1: mixed precision, loss scale {config['fp16_scale']:g}"
            + (f", which moves every {config['fp16_scale_window']} steps" if config["fp16_scale_window"] else "")
        ]
    if config["use_bf16"]:
        return ["--use_fp16 1 on a CPU is --use_bf16 1: the backbone in bfloat16, weights and head in float32"]
    return [f"--use_fp16 1 has no effect: {find_obstacle(config, ranks, network)}"]


def describe_transfers(given: Collection[str], device: str) -> list[str]:
    """Return which of the keys that were ``given`` as flags a run on ``device`` has no use for, a line each."""
    if device != "cpu":
        return []
    return [f"--{key} has no effect: it is about transfers between GPUs" for key in _TRANSFERS if key in given]


def check_bfloat16_device(config: Mapping[str, Any], device: str) -> None:
    """Check that ``use_bf16``, where it is asked for, can be had on ``device``, "cpu" or "cuda".

    Raises:
        UserError: the CPU kernels, which compute so, are switched off, or GPUs were chosen.
    """
    if config["use_bf16"] and not config["native_ops"]:
        raise UserError("--use_bf16 1 computes by the CPU kernels that --native_ops 0 switches off; give one of them")
    if config["use_bf16"] and device != "cpu":
        raise UserError("--use_bf16 1 is for the CPU, and GPUs were chosen; add --device cpu or omit it")


def check_bfloat16(config: Mapping[str, Any], network: NetworkGraph) -> None:
    """Check that ``use_bf16``, where it is asked for, can be had for this network.

    Raises:
        UserError: one of its layers is not known to the kernels that compute so.
    """
    unknown = find_float_layers(network)
    if config["use_bf16"] and unknown:
        raise UserError(
            f"--use_bf16 1 is not for network {config['network']}: the CPU kernels for it lack {', '.join(unknown)}; "
            "omit it"
        )
