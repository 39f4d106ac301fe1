"""The improved residual networks of ArcFace: InsightFace's ``fresnet`` (LResNetXE-IR) and the PyTorch ``iresnet``.

Deng et al., ArcFace, 2019. Both have the MXNet names; they differ in depths, constants and initial weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import MXNET_SCALE, TORCH_SCALE, Layers, add_image_input
from backbones.networks.options import NetworkOptions, choose
from backbones.networks.output_layers import OutputStyle, add_output
from backbones.networks.residual_units import UNITS
from common.errors import UserError

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


# Of the trainers around face.evoLVe; IR-101 is its depth 100.
IR_UNITS_PER_STAGE = {depth: UNITS_PER_STAGE[depth] for depth in (18, 34, 50, 100, 152)}

TORCH_UNITS_PER_STAGE: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    200: (6, 26, 60, 6),
}


@dataclass(frozen=True)
class ResidualStyle:
    """The differences between MXNet's and PyTorch's networks; the defaults are MXNet's."""

    eps: float = 2e-5
    scale: float = MXNET_SCALE
    rules: Mapping[str, str] = field(default_factory=dict)


TORCH_STYLE = ResidualStyle(1e-5, TORCH_SCALE, {"conv": "normal", "fully_connected": "torch_uniform"})
IR_STYLE = ResidualStyle(1e-5, TORCH_SCALE)  # AdaFace's initial weights are those of MXNet's network


def _stem(layers: Layers, x: str, filters: int, kernel: int, stride: int) -> str:
    x = layers.conv_norm(x, "conv0", "bn0", filters, kernel, stride)
    return layers.act(x, "relu0")


def _stem_7x7(layers: Layers, filters: int, style: ResidualStyle) -> str:
    """Preprocessing and a 7x7 convolution that halves the resolution."""
    x = add_image_input(layers.graph, layers.options, style.scale)
    return _stem(layers, x, filters, kernel=7, stride=2)


def _stem_3x3(layers: Layers, filters: int, style: ResidualStyle) -> str:
    """Preprocessing and a 3x3 convolution that keeps the resolution."""
    x = add_image_input(layers.graph, layers.options, style.scale)
    return _stem(layers, x, filters, kernel=3, stride=1)


def _stem_normalized(layers: Layers, filters: int, style: ResidualStyle) -> str:
    """A BatchNorm in place of the preprocessing, and a 3x3 convolution that keeps the resolution."""
    graph, options = layers.graph, layers.options
    if (options.input_mean, options.input_scale) != (NetworkOptions.input_mean, NetworkOptions.input_scale):
        raise UserError("net_input=2 normalises its images by a BatchNorm; omit input_mean and input_scale")
    data = graph.input("data", (3, options.image_size, options.image_size))
    x = graph.batch_norm(data, "bn_data", style.eps, options.bn_mom, fix_gamma=True)
    return _stem(layers, x, filters, kernel=3, stride=1)


STEMS: dict[int, Callable[[Layers, int, ResidualStyle], str]] = {0: _stem_7x7, 1: _stem_3x3, 2: _stem_normalized}
SQUEEZE_EXCITATION = {0: "none", 1: "in every unit"}


def build_residual_network(
    units: Sequence[int], widths: Sequence[int], options: NetworkOptions, style: ResidualStyle | None = None
) -> NetworkGraph:
    """Build stem, stages and output layers.

    Args:
        units: residual units of each stage; the first unit of every stage halves the resolution.
        widths: channels of the stem, then of each stage.
        options: stem, unit, activation, output and embedding size.
        style: constants of the family, MXNet's by default.

    Raises:
        UserError: an option has a value that this family does not support.
    """
    style = style or ResidualStyle()
    add_stem = choose(STEMS, "net_input", options.net_input, options.net_name)
    add_unit = choose(UNITS, "net_unit", options.net_unit, options.net_name)
    choose(SQUEEZE_EXCITATION, "net_se", options.net_se, options.net_name)
    graph = NetworkGraph(style.rules)
    layers = Layers(graph, options, style.eps)
    x = add_stem(layers, widths[0], style)
    for stage, (count, filters) in enumerate(zip(units, widths[1:], strict=True), start=1):
        for unit in range(1, count + 1):
            first = unit == 1
            x = add_unit(layers, x, f"stage{stage}_unit{unit}", filters, 2 if first else 1, first)
    add_output(graph, x, options, style=OutputStyle(style.eps))
    return graph


def build_fresnet(options: NetworkOptions) -> NetworkGraph:
    """Build the MXNet network of ``options.num_layers`` layers.

    Raises:
        UserError: the depth is not in ``UNITS_PER_STAGE``, or another option is not supported.
    """
    units = choose(UNITS_PER_STAGE, "num_layers", options.num_layers, options.net_name)
    return build_residual_network(units, WIDTHS, options)


def build_iresnet(options: NetworkOptions) -> NetworkGraph:
    """Build the network of ``options.num_layers`` layers as arcface_torch's backbones/networks/iresnet.py does.

    Raises:
        UserError: the depth is not in ``TORCH_UNITS_PER_STAGE``, or another option is not supported.
    """
    units = choose(TORCH_UNITS_PER_STAGE, "num_layers", options.num_layers, options.net_name)
    return build_residual_network(units, WIDTHS, options, TORCH_STYLE)


def build_ir(options: NetworkOptions) -> NetworkGraph:
    """Build the IR network of ``options.num_layers`` layers as AdaFace, TFace and CVLFace do, or face.evoLVe.

    ``net_unit`` is 5 for the former, 6 for the latter; ``net_se`` makes it IR-SE.

    Raises:
        UserError: the depth is not in ``IR_UNITS_PER_STAGE``, or another option is not supported.
    """
    units = choose(IR_UNITS_PER_STAGE, "num_layers", options.num_layers, options.net_name)
    return build_residual_network(units, WIDTHS, options, IR_STYLE)
