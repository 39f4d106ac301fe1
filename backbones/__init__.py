"""Networks: image [N, 3, S, S] -> embedding [N, E]. The one registry of ``config.net_name``.

Describing a network (``build_network``) needs no framework; only ``build_backbone`` imports OneFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from backbones.graph.initializer import initial_arrays
from backbones.graph.network_graph import NetworkGraph
from backbones.graph.stochastic_depth import with_stochastic_depth
from backbones.networks.densenet import build_fdensenet
from backbones.networks.iresnet import build_fresnet, build_ir, build_iresnet
from backbones.networks.mnasnet import build_fmnasnet
from backbones.networks.mobilefacenet import build_fmobilefacenet, build_mbf
from backbones.networks.mobilenet import build_fmobilenet
from backbones.networks.options import NetworkOptions
from backbones.networks.vargfacenet import build_vargfacenet
from backbones.networks.vit import build_vit
from common.errors import lookup

if TYPE_CHECKING:
    from backbones.execution.backbone import Backbone

NETWORKS: dict[str, Callable[[NetworkOptions], NetworkGraph]] = {
    "fresnet": build_fresnet,
    "fmobilefacenet": build_fmobilefacenet,
    "fmobilenet": build_fmobilenet,
    "fmnasnet": build_fmnasnet,
    "fdensenet": build_fdensenet,
    "vargfacenet": build_vargfacenet,
    "iresnet": build_iresnet,
    "ir": build_ir,
    "mbf": build_mbf,
    "vit": build_vit,
}


def build_network(config: Mapping[str, Any]) -> NetworkGraph:
    """Return the description of the network in ``config``.

    Raises:
        UserError: the network is unknown or one of its options is not supported.
    """
    options = NetworkOptions.from_config(config)
    return lookup(NETWORKS, options.net_name, "network")(options)


def build_backbone(config: Mapping[str, Any], seed: int = 0) -> Backbone:
    """Return the OneFlow module of the network in ``config``, with initial weights drawn from ``seed``.

    With ``stochastic_depth`` its description has a node more in each residual unit, which only training executes.

    Raises:
        UserError: the network is unknown, or one of its options (``use_bf16``, ``recompute``) is not supported here.
    """
    from backbones.execution.backbone import Backbone

    graph = build_network(config)
    if config.get("stochastic_depth"):
        graph = with_stochastic_depth(graph, config["stochastic_depth"])
    return Backbone(
        graph,
        initial_arrays(graph, seed),
        native=config.get("native_ops", True),
        bfloat16=config.get("use_bf16", False),
        sync_bn=config.get("sync_bn", False),
        freeze_bn=config.get("freeze_bn", False),
        recompute=config.get("recompute", False),
        takes_over=True,
    )
