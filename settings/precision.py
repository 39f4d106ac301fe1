"""Resolve ``use_fp16`` and the settings of transfers between GPUs for the device of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from backbones.graph.network_graph import NetworkGraph
from backbones.graph.nodes import COMPILED_OPS
from common.errors import UserError
from settings.config import Config

# The values of oneflow.amp.GradScaler.
_FIRST_SCALE = 2.0**16
_SCALE_WINDOW = 2000
_TRANSFERS = ("nccl_fusion_threshold_mb", "nccl_fusion_max_ops")


def layers_without_kernels(network: NetworkGraph) -> list[str]:
    """Return the kinds of layers without CPU kernels, which therefore do not support bfloat16."""
    return sorted({node.layer for node in network.nodes} - set(COMPILED_OPS))


def float32_reason(config: Mapping[str, Any], ranks: int, network: NetworkGraph) -> str:
    """Return the reason why a run on a CPU must compute in float32; empty if there is none."""
    if not config["native_ops"]:
        return "--native_ops 0 computes in float32"
    if config["sync_bn"] and ranks > 1:
        return "--sync_bn 1 on several ranks computes in float32"
    layers = layers_without_kernels(network)
    if layers:
        return f"network {config['network']} computes in float32 on a CPU, whose kernels lack {', '.join(layers)}"
    return ""


def resolve_precision(config: Config, ranks: int, network: NetworkGraph) -> Config:
    """Return ``config`` with ``use_fp16`` resolved for its ``device``.

    On GPUs it is OneFlow's automatic mixed precision, with a dynamic loss scale unless the user sets one. On a CPU it
    is ``use_bf16``, which has the range of float32, if the run supports it.
    """
    if not config["use_fp16"]:
        return config
    if config["device"] != "cpu":
        if config["fp16_scale"] in (0.0, 1.0) and not config["fp16_scale_window"]:
            return config.replaced(fp16_scale=_FIRST_SCALE, fp16_scale_window=_SCALE_WINDOW)
        return config
    return config if float32_reason(config, ranks, network) else config.replaced(use_bf16=True)


def describe_precision(config: Mapping[str, Any], ranks: int, network: NetworkGraph) -> list[str]:
    """Return notices about the number formats of a run, one per line; ``config`` must be complete."""
    if not config["use_fp16"]:
        if config["fp16_scale"] in (0.0, 1.0):
            return []
        return [f"--fp16_scale {config['fp16_scale']:g} scales the loss alone; --use_fp16 1 computes in half precision"]
    if config["device"] != "cpu":
        return [
            f"--use_fp16 1: mixed precision, loss scale {config['fp16_scale']:g}"
            + (f", which is adjusted every {config['fp16_scale_window']} steps" if config["fp16_scale_window"] else "")
        ]
    if config["use_bf16"]:
        return ["--use_fp16 1 on a CPU is --use_bf16 1: the backbone in bfloat16, weights and head in float32"]
    return [f"--use_fp16 1 has no effect: {float32_reason(config, ranks, network)}"]


def describe_transfers(given: Collection[str], device: str) -> list[str]:
    """Return notices about ``given`` flags that have no effect on ``device``, one per line."""
    if device != "cpu":
        return []
    return [f"--{key} has no effect: it is about transfers between GPUs" for key in _TRANSFERS if key in given]


def check_bfloat16_device(config: Mapping[str, Any], device: str) -> None:
    """Check that ``device`` ("cpu" or "cuda") supports ``use_bf16`` if it is set.

    Raises:
        UserError: ``use_bf16`` is set, but the CPU kernels that it needs are switched off or GPUs were chosen.
    """
    if config["use_bf16"] and not config["native_ops"]:
        raise UserError("--use_bf16 1 computes by the CPU kernels that --native_ops 0 switches off; give one of them")
    if config["use_bf16"] and device != "cpu":
        raise UserError("--use_bf16 1 is for the CPU, and GPUs were chosen; add --device cpu or omit it")


def check_bfloat16(config: Mapping[str, Any], network: NetworkGraph) -> None:
    """Check that the network supports ``use_bf16`` if it is set.

    Raises:
        UserError: ``use_bf16`` is set, but the CPU kernels do not support a layer of the network.
    """
    unknown = layers_without_kernels(network)
    if config["use_bf16"] and unknown:
        raise UserError(
            f"--use_bf16 1 is not for network {config['network']}: the CPU kernels for it lack {', '.join(unknown)}; "
            "omit it"
        )
