"""Small networks that together contain every layer, and the results of running one."""

from __future__ import annotations

import numpy as np

from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.graph.network_graph import NetworkGraph
from backbones.graph.stochastic_depth import with_stochastic_depth
from backbones.graph.transformer import TransformerGraph
from ops import flow

Outcome = dict[str, np.ndarray]


def _start(size: int) -> tuple[NetworkGraph, str]:
    graph = NetworkGraph()
    return graph, graph.scale_shift(graph.input("data", (3, size, size)), "preprocess", 127.5, 1 / 128)


def _finish(graph: NetworkGraph, x: str, units: int = 5) -> NetworkGraph:
    graph.fully_connected(graph.flatten(x, "flatten"), "fc1", units)
    return graph


def plain() -> NetworkGraph:
    """Convolutions with bias, a PReLU without a normalisation before it, activations, odd sizes."""
    graph, x = _start(9)
    x = graph.prelu(graph.conv(x, "conv", 7, 3, stride=2, pad=1, bias=True), "slope")
    for kind in ("relu", "sigmoid", "tanh"):
        x = graph.activation(graph.conv(x, f"conv_{kind}", 7, 3, pad=1), kind, kind)
    return _finish(graph, x)


def residual() -> NetworkGraph:
    """The unit of the residual networks with and without a projection, and dropout before the embedding."""
    graph, x = _start(12)
    x = graph.prelu(graph.batch_norm(graph.conv(x, "stem", 20, 3, pad=1), "stem_bn", 2e-5), "stem_slope")
    for name, stride in (("down", 2), ("same", 1)):
        y = graph.batch_norm(x, f"{name}_bn1", 2e-5)
        y = graph.batch_norm(graph.conv(y, f"{name}_conv1", 20, 3, pad=1), f"{name}_bn2", 2e-5)
        y = graph.conv(graph.prelu(y, f"{name}_slope"), f"{name}_conv2", 20, 3, stride=stride, pad=1)
        y = graph.batch_norm(y, f"{name}_bn3", 2e-5)
        if stride > 1:
            x = graph.batch_norm(graph.conv(x, f"{name}_sc", 20, 1, stride=stride), f"{name}_sc_bn", 2e-5)
        x = graph.add(y, x, f"{name}_add")
    return _finish(graph, graph.dropout(graph.batch_norm(x, "bn", 2e-5, fix_gamma=True), "dropout", 0.4))


def skipping() -> NetworkGraph:
    """The same with units that training skips."""
    return with_stochastic_depth(residual(), 0.5)


def mobile() -> NetworkGraph:
    """Depthwise convolutions, a linear bottleneck with a shortcut, a global depthwise convolution."""
    graph, x = _start(14)

    def block(x: str, name: str, filters: int, kernel: int, act: bool = True, **options: int) -> str:
        x = graph.batch_norm(graph.conv(x, name, filters, kernel, **options), f"{name}_bn", 1e-3)
        return graph.prelu(x, f"{name}_slope") if act else x

    x = block(x, "stem", 33, 3, stride=2, pad=1)
    x = block(x, "dw", 33, 3, stride=1, pad=1, groups=33)
    y = block(block(x, "sep", 36, 1), "dw2", 36, 3, pad=1, groups=36)
    x = graph.add(x, block(y, "proj", 33, 1, act=False), "shortcut")
    x = block(block(x, "dw3", 33, 5, stride=2, pad=2, groups=33), "sep3", 40, 1)
    x = block(x, "global", 40, 4, act=False, groups=40)
    return _finish(graph, x)


def pointwise() -> NetworkGraph:
    """1x1 convolutions between BatchNorms, a shortcut, and a value with two readers."""
    graph, x = _start(14)

    def block(x: str, name: str, filters: int) -> str:
        return graph.batch_norm(graph.conv(x, name, filters, 1), f"{name}_bn", 1e-3)

    x = block(x, "stem", 24)
    y = block(graph.prelu(block(x, "wide", 40), "wide_slope"), "narrow", 24)
    x = graph.prelu(graph.add(x, y, "shortcut"), "shortcut_slope")
    x = graph.add(block(x, "left", 17), block(x, "right", 17), "both")
    return _finish(graph, x)


def dense() -> NetworkGraph:
    """Sums of two values with further readers, and a fully connected layer on a map."""
    graph, x = _start(6)
    a = graph.conv(x, "a", 8, 3, pad=1)
    b = graph.conv(x, "b", 8, 1)
    c = graph.add(a, b, "c")
    d = graph.add(graph.add(c, a, "c_a"), graph.batch_norm(b, "b_bn", 1e-5), "d")
    return _finish(graph, graph.activation(d, "act", "tanh"))


def wide() -> NetworkGraph:
    """3x3 convolutions large enough for Winograd's filtering, and every layer that may follow them."""
    graph, x = _start(30)
    x = graph.conv(x, "stem", 32, 1)
    y = graph.batch_norm(graph.conv(x, "conv1", 64, 3, pad=1), "bn1", 2e-5)
    y = graph.conv(graph.activation(y, "tanh1", "tanh"), "conv2", 32, 3, pad=1)
    z = graph.add(graph.batch_norm(y, "bn2", 2e-5), x, "shortcut")
    z = graph.activation(z, "tanh2", "tanh")
    z = graph.add(graph.conv(z, "left", 64, 3), graph.conv(z, "right", 64, 3, bias=True), "both")
    z = graph.conv(graph.activation(z, "tanh3", "tanh"), "last", 32, 3, pad=2)
    return _finish(graph, graph.prelu(graph.batch_norm(z, "bn3", 2e-5), "slope"))


def shared() -> NetworkGraph:
    """One slope for all channels, several channels in each group, a fully connected layer without bias."""
    graph, x = _start(10)
    x = graph.prelu(graph.batch_norm(graph.conv(x, "stem", 24, 3, pad=1), "stem_bn", 1e-5), "stem_slope", shared=True)
    x = graph.conv(x, "grouped", 6, 3, stride=2, pad=1, groups=3)
    x = graph.prelu(x, "grouped_slope", shared=True)
    graph.fully_connected(graph.flatten(x, "flatten"), "fc1", 5, bias=False)
    return graph


SMALL = {
    "plain": plain,
    "residual": residual,
    "skipping": skipping,
    "mobile": mobile,
    "pointwise": pointwise,
    "dense": dense,
    "wide": wide,
    "shared": shared,
}


def branching() -> NetworkGraph:
    """Poolings, concatenation, squeeze-excitation and equal pixel norms, which run node by node."""
    graph, x = _start(12)
    x = graph.prelu(graph.batch_norm(graph.conv(x, "stem", 6, 3, pad=1), "stem_bn", 1e-5), "stem_slope", shared=True)
    x = graph.pool(x, "max", "max", 3, 2, pad=1)
    x = graph.concat([x, graph.conv(x, "branch", 4, 3, pad=1)], "both")
    x = graph.pool(x, "avg", "avg", 2, 2)
    factors = graph.conv(graph.global_pool(x, "means"), "factors", 10, 1, bias=True)
    x = graph.scale_channels(x, graph.activation(factors, "gate", "sigmoid"), "scaled")
    return _finish(graph, graph.equalize_pixel_norms(graph.batch_norm(x, "bn", 1e-5), "even"))


def tokens() -> TransformerGraph:
    """A transformer that hides patches and skips blocks."""
    config = {"net_name": "vit", "num_layers": 2, "vit_width": 16, "emb_size": 5, "image_size": 18}
    return build_network(config | {"vit_drop_path": 0.3, "vit_mask_ratio": 0.25})


BY_NODES = {"branching": branching, "tokens": tokens}


def normalised_depthwise(size: int, channels: int, stride: int, slope: bool) -> NetworkGraph:
    """A depthwise 3x3 convolution of a normalised map between two 1x1 convolutions."""
    graph, x = _start(size)
    x = graph.batch_norm(graph.conv(x, "stem", channels, 1), "bn", 1e-3)
    x = graph.prelu(x, "slope") if slope else x
    x = graph.batch_norm(graph.conv(x, "dw", channels, 3, stride=stride, pad=1, groups=channels), "dw_bn", 1e-3)
    return _finish(graph, graph.conv(x, "proj", 4, 1))


def normalised_pointwise(size: int, channels: int, filters: int) -> NetworkGraph:
    """A 1x1 convolution of a normalised map of ``channels``, which a 1x1 convolution has made."""
    graph, x = _start(size)
    x = graph.prelu(graph.batch_norm(graph.conv(x, "stem", channels, 1), "bn", 1e-3), "slope")
    return _finish(graph, graph.conv(x, "conv", filters, 1))


def expanded_depthwise(size: int, stride: int, normalised: bool) -> NetworkGraph:
    """Two units whose 1x1 convolution and depthwise one are one layer in inference.

    BatchNorm and PReLU follow each convolution, or it has a bias alone. In the first unit another depthwise
    convolution follows, which is a layer of its own. In the second one an addition follows right behind the depthwise
    convolution; the value that it adds has two readers.
    """
    graph, x = _start(size)
    x = graph.conv(x, "stem", 64, 3, pad=1)

    def conv(x: str, name: str, filters: int, kernel: int, **options: int) -> str:
        x = graph.conv(x, name, filters, kernel, bias=not normalised, **options)
        return graph.prelu(graph.batch_norm(x, f"{name}_bn", 1e-3), f"{name}_slope") if normalised else x

    x = conv(conv(x, "expand", 128, 1), "depthwise", 128, 3, stride=stride, pad=1, groups=128)
    x = conv(conv(x, "again", 128, 3, pad=1, groups=128), "project", 64, 1)
    y = graph.batch_norm(graph.conv(conv(x, "expand2", 64, 1), "depthwise2", 64, 3, pad=1, groups=64), "last_bn", 1e-3)
    return _finish(graph, graph.add(y, x, "shortcut"))


def single_convolution(
    size: int, filters: int, kernel: int, stride: int, pad: int, groups: int, bias: bool
) -> NetworkGraph:
    """One convolution of ``filters`` channels between a 1x1 convolution and the embedding."""
    graph, x = _start(size)
    x = graph.conv(x, "expand", filters, 1)
    return _finish(graph, graph.conv(x, "conv", filters, kernel, stride, pad, groups, bias))


def first_convolution(size: int, filters: int, kernel: int, stride: int, pad: int) -> NetworkGraph:
    """One convolution of the three colours."""
    graph, x = _start(size)
    return _finish(graph, graph.conv(x, "conv", filters, kernel, stride, pad))


def broad() -> NetworkGraph:
    """Layers whose transformed filters, or weights, are so many that they are computed in parts."""
    graph, x = _start(15)
    x = graph.conv(graph.conv(x, "expand", 288, 1), "conv", 288, 3, pad=1)
    return _finish(graph, x, units=32)


def flattened_then_normalised() -> NetworkGraph:
    """A network that the op does not support: BatchNorm on a flattened map."""
    graph, x = _start(4)
    x = graph.batch_norm(graph.flatten(x, "flatten"), "bn", 1e-5)
    graph.fully_connected(x, "fc1", 3)
    return graph


def images(graph: NetworkGraph, batch: int) -> flow.Tensor:
    """Random bytes in the shape of the network's input."""
    shape = (batch, *graph.shapes[graph.nodes[0].name])
    return flow.tensor(np.random.default_rng(batch).integers(0, 256, shape).astype(np.uint8))


def run(backbone: Backbone, batch: int) -> Outcome:
    """Train on one batch and then embed it: embeddings, gradients, arrays afterwards, embeddings in inference."""
    rng = np.random.default_rng(7)
    x, keep = images(backbone.network, batch), None
    if backbone.dropout_width:
        keep = flow.tensor((rng.random((batch, backbone.dropout_width)) < 0.6).astype(np.uint8))
    embeddings = backbone.train()(x, keep)
    weight = flow.tensor(rng.normal(size=embeddings.shape)).to(embeddings.dtype)
    (embeddings * weight).sum().backward()
    outcome = {"embeddings": embeddings.numpy().copy()}
    outcome |= {f"gradient:{name}": p.grad.numpy().copy() for name, p in backbone.named_parameters()}
    outcome |= {f"moving:{k}": v for k, v in backbone.named_arrays().items() if "moving" in k}
    outcome["inference"] = backbone.eval()(x).numpy().copy()
    return outcome
