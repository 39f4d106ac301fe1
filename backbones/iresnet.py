"""The improved residual networks of ArcFace (LResNetXE-IR), InsightFace's ``fresnet``.

Deng et al., ArcFace, 2019; unit after Han et al., Deep Pyramidal Residual Networks, 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backbones.graph import NetworkGraph
from backbones.layers import add_activation, add_image_input
from backbones.options import NetworkOptions, choose
from backbones.output_layers import add_output

BN_EPS = 2e-5
WIDTHS = (64, 64, 128, 256, 512)
UNITS_PER_STAGE: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    49: (3, 4, 14, 3),
    50: (3, 4, 14, 3),
    74: (3, 6, 24, 3),
    90: (3, 8, 30, 3),
    98: (3, 4, 38, 3),
    99: (3, 8, 35, 3),
    100: (3, 13, 30, 3),
    101: (3, 4, 23, 3),
    124: (3, 13, 40, 5),
    134: (3, 10, 50, 3),
    136: (3, 13, 48, 3),
    140: (3, 15, 48, 3),
    152: (3, 8, 36, 3),
    160: (3, 24, 49, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}


def _stem_3x3(graph: NetworkGraph, filters: int, options: NetworkOptions) -> str:
    """Preprocessing and a 3x3 convolution that keeps the resolution."""
    x = add_image_input(graph, options.image_size)
    x = graph.conv(x, "conv0", filters, kernel=3, pad=1)
    x = graph.batch_norm(x, "bn0", BN_EPS, options.bn_mom)
    return add_activation(graph, x, "relu0", options.net_act)


def _unit_v3(graph: NetworkGraph, x: str, name: str, filters: int, stride: int, options: NetworkOptions) -> str:
    """BN, conv3x3, BN, activation, conv3x3 with the stride, BN, plus the shortcut."""
    body = graph.batch_norm(x, f"{name}_bn1", BN_EPS, options.bn_mom)
    body = graph.conv(body, f"{name}_conv1", filters, kernel=3, pad=1)
    body = graph.batch_norm(body, f"{name}_bn2", BN_EPS, options.bn_mom)
    body = add_activation(graph, body, f"{name}_relu1", options.net_act)
    body = graph.conv(body, f"{name}_conv2", filters, kernel=3, stride=stride, pad=1)
    body = graph.batch_norm(body, f"{name}_bn3", BN_EPS, options.bn_mom)
    shortcut = x
    if graph.shapes[body] != graph.shapes[x]:
        shortcut = graph.conv(x, f"{name}_conv1sc", filters, kernel=1, stride=stride)
        shortcut = graph.batch_norm(shortcut, f"{name}_sc", BN_EPS, options.bn_mom)
    return graph.add(body, shortcut, f"{name}_plus")


STEMS: dict[int, Callable[[NetworkGraph, int, NetworkOptions], str]] = {1: _stem_3x3}
UNITS: dict[int, Callable[[NetworkGraph, str, str, int, int, NetworkOptions], str]] = {3: _unit_v3}
SQUEEZE_EXCITATION = {0: "none"}


def build_residual_network(units: Sequence[int], widths: Sequence[int], options: NetworkOptions) -> NetworkGraph:
    """Build stem, stages and output layers.

    Args:
        units: residual units of each stage; the first unit of every stage halves the resolution.
        widths: channels of the stem, then of each stage.
        options: stem, unit, activation, output and embedding size.

    Raises:
        UserError: an option has a value that this family does not support.
    """
    stem = choose(STEMS, "net_input", options.net_input, options.net_name)
    add_unit = choose(UNITS, "net_unit", options.net_unit, options.net_name)
    choose(SQUEEZE_EXCITATION, "net_se", options.net_se, options.net_name)
    graph = NetworkGraph()
    x = stem(graph, widths[0], options)
    for stage, (count, filters) in enumerate(zip(units, widths[1:], strict=True), start=1):
        for unit in range(1, count + 1):
            x = add_unit(graph, x, f"stage{stage}_unit{unit}", filters, 2 if unit == 1 else 1, options)
    add_output(graph, x, options)
    return graph


def build_fresnet(options: NetworkOptions) -> NetworkGraph:
    """Build the network of ``options.num_layers`` layers.

    Raises:
        UserError: the depth is not in ``UNITS_PER_STAGE``, or another option is not supported.
    """
    units = choose(UNITS_PER_STAGE, "num_layers", options.num_layers, options.net_name)
    return build_residual_network(units, WIDTHS, options)
