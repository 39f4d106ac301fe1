"""The layers between the last feature map and the embedding ``fc1``, chosen by config key ``net_output``.

Follows ``get_fc1`` of InsightFace's symbol_utils. ``fc1`` is a BatchNorm with fix_gamma.
"""

from __future__ import annotations

from collections.abc import Callable

from backbones.graph import NetworkGraph
from backbones.options import NetworkOptions, choose

BN_EPS = 2e-5
DEPTHWISE_BN_EPS = 1e-3  # the original names no eps here, so MXNet's default holds
DROPOUT = 0.4


def _project(graph: NetworkGraph, x: str, options: NetworkOptions) -> str:
    x = graph.flatten(x, "flatten0")
    x = graph.fully_connected(x, "pre_fc1", options.emb_size)
    return graph.batch_norm(x, "fc1", BN_EPS, options.bn_mom, fix_gamma=True)


def _output_e(graph: NetworkGraph, x: str, options: NetworkOptions) -> str:
    x = graph.batch_norm(x, "bn1", BN_EPS, options.bn_mom)
    x = graph.dropout(x, "dropout0", DROPOUT)
    return _project(graph, x, options)


def _output_fc(graph: NetworkGraph, x: str, options: NetworkOptions) -> str:
    x = graph.batch_norm(x, "bn1", BN_EPS, options.bn_mom)
    return _project(graph, x, options)


def _output_gdc(graph: NetworkGraph, x: str, options: NetworkOptions) -> str:
    channels = graph.shapes[x][0]
    x = graph.conv(x, "conv_6dw7_7_conv2d", channels, kernel=7, groups=channels)
    x = graph.batch_norm(x, "conv_6dw7_7_batchnorm", DEPTHWISE_BN_EPS, options.bn_mom)
    return _project(graph, x, options)


OUTPUT_LAYERS: dict[str, Callable[[NetworkGraph, str, NetworkOptions], str]] = {
    "E": _output_e,
    "FC": _output_fc,
    "I": _output_fc,  # MXNet's name of FC
    "GDC": _output_gdc,
}


def add_output(graph: NetworkGraph, x: str, options: NetworkOptions) -> str:
    """Add the output layers from feature map ``x`` (C, H, W) to the embedding ``fc1`` (emb_size,).

    Raises:
        UserError: ``options.net_output`` is unknown.
    """
    return choose(OUTPUT_LAYERS, "net_output", options.net_output, options.net_name)(graph, x, options)
