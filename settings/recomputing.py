"""Check whether a run can compute feature maps again instead of keeping them (``recompute``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from settings.precision import layers_without_kernels


def check_recompute(config: Mapping[str, Any], network: NetworkGraph, ranks: int) -> None:
    """Check that ``config``, with its device, supports ``recompute`` if it is set.

    Raises:
        UserError: ``recompute`` is set, but the backbone would not run as the CPU's one op, which alone can do it.
    """
    if not config["recompute"]:
        return
    if config["device"] != "cpu":
        raise UserError("--recompute 1 is for the CPU, and GPUs were chosen; add --device cpu or omit it")
    if not config["native_ops"]:
        raise UserError("--recompute 1 is done by the CPU kernels that --native_ops 0 switches off; give one of them")
    if config["sync_bn"] and ranks > 1:
        raise UserError("--sync_bn 1 on several ranks keeps all feature maps; omit --recompute 1 or use one rank")
    missing = layers_without_kernels(network)
    if missing:
        raise UserError(
            f"--recompute 1 is not for network {config['network']}: the CPU kernels for it lack {', '.join(missing)}; "
            "omit it"
        )
