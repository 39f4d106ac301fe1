"""Groups of nodes that several network families share."""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.options import NetworkOptions

MXNET_SCALE = 0.0078125  # 1 / 128, of InsightFace's MXNet networks
TORCH_SCALE = 1 / 127.5  # of its PyTorch networks


def add_image_input(graph: NetworkGraph, options: NetworkOptions, scale: float = MXNET_SCALE) -> str:
    """Add the RGB image input ``data`` (3, S, S), values 0..255, and its ``(x - mean) * scale``.

    ``scale`` is that of the family, which the option ``input_scale`` replaces.
    """
    data = graph.input("data", (3, options.image_size, options.image_size))
    return graph.scale_shift(data, "preprocess", mean=options.input_mean, scale=options.input_scale or scale)


def add_activation(graph: NetworkGraph, x: str, name: str, kind: str, shared: bool = False) -> str:
    """Add the activation that config key ``net_act`` names: prelu with its slopes, or one of ``ACTIVATION_TYPES``."""
    if kind == "prelu":
        return graph.prelu(x, name, shared)
    return graph.activation(x, name, kind)


class Layers:
    """The groups of layers within a family, with access to graph, options and the family's BatchNorm constants."""

    def __init__(self, graph: NetworkGraph, options: NetworkOptions, eps: float, fix_gamma: bool = False) -> None:
        self.graph = graph
        self.options = options
        self._eps = eps
        self._fix_gamma = fix_gamma

    def norm(self, x: str, name: str) -> str:
        """BatchNorm."""
        return self.graph.batch_norm(x, name, self._eps, self.options.bn_mom, self._fix_gamma)

    def act(self, x: str, name: str) -> str:
        """The activation of ``net_act``."""
        return add_activation(self.graph, x, name, self.options.net_act)

    def conv_norm(
        self, x: str, conv: str, norm: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> str:
        """Convolution and BN; the padding keeps the resolution at stride 1."""
        return self.norm(self.graph.conv(x, conv, filters, kernel, stride, kernel // 2, groups), norm)

    def squeeze_excite(
        self, x: str, name: str, ratio: int, act: str = "relu1", kind: str = "", bias: bool = True
    ) -> str:
        """Scale each channel of ``x`` by a sigmoid of all channels' means, squeezed to 1 / ``ratio`` of them.

        Hu et al., Squeeze-and-Excitation Networks, 2018. ``kind`` is the activation, that of ``net_act`` by default.
        """
        channels = self.graph.shapes[x][0]
        y = self.graph.global_pool(x, f"{name}_se_pool1")
        y = self.graph.conv(y, f"{name}_se_conv1", channels // ratio, kernel=1, bias=bias)
        y = add_activation(self.graph, y, f"{name}_se_{act}", kind or self.options.net_act)
        y = self.graph.conv(y, f"{name}_se_conv2", channels, kernel=1, bias=bias)
        y = self.graph.activation(y, f"{name}_se_sigmoid", "sigmoid")
        return self.graph.scale_channels(x, y, f"{name}_se_scale")
