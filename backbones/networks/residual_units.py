"""The residual units of the LResNetXE-IR networks, chosen by config key ``net_unit``.

Units 1 to 4 follow the ``residual_unit_v*`` of InsightFace's fresnet, without their bottleneck forms, which no listed
depth uses; 5 and 6 are those of PyTorch's trainers around face.evoLVe.
``project`` marks the first unit of a stage: it changes the shape, so its shortcut is a convolution.
"""

from __future__ import annotations

from collections.abc import Callable

from backbones.networks.layers import Layers

SE_RATIO = 16


def _excite(layers: Layers, x: str, name: str) -> str:
    return layers.squeeze_excite(x, name, SE_RATIO) if layers.options.net_se else x


def _shortcut(layers: Layers, x: str, name: str, filters: int, stride: int, project: bool) -> str:
    if not project:
        return x
    return layers.conv_norm(x, f"{name}_conv1sc", f"{name}_sc", filters, kernel=1, stride=stride)


def _unit_v1(layers: Layers, x: str, name: str, filters: int, stride: int, project: bool) -> str:
    """Conv, BN, activation, conv, BN, plus the shortcut, activation; He et al., 2015.

    The stride is in the first convolution with ``net_input`` 0, in the second otherwise.
    """
    strides = (stride, 1) if layers.options.net_input == 0 else (1, stride)
    body = layers.conv_norm(x, f"{name}_conv1", f"{name}_bn1", filters, kernel=3, stride=strides[0])
    body = layers.act(body, f"{name}_relu1")
    body = layers.conv_norm(body, f"{name}_conv2", f"{name}_bn2", filters, kernel=3, stride=strides[1])
    body = _excite(layers, body, name)
    x = layers.graph.add(body, _shortcut(layers, x, name, filters, stride, project), f"{name}_plus")
    return layers.act(x, f"{name}_relu3")


def _unit_v2(layers: Layers, x: str, name: str, filters: int, stride: int, project: bool) -> str:
    """BN, activation, conv with the stride, BN, activation, conv, plus the shortcut; He et al., 2016."""
    act = layers.act(layers.norm(x, f"{name}_bn1"), f"{name}_relu1")
    body = layers.conv_norm(act, f"{name}_conv1", f"{name}_bn2", filters, kernel=3, stride=stride)
    body = layers.act(body, f"{name}_relu2")
    body = layers.graph.conv(body, f"{name}_conv2", filters, kernel=3, pad=1)
    body = _excite(layers, body, name)
    shortcut = layers.graph.conv(act, f"{name}_sc", filters, kernel=1, stride=stride) if project else x
    return layers.graph.add(body, shortcut, f"{name}_plus")


def _body_v3(layers: Layers, x: str, name: str, filters: int, stride: int) -> str:
    body = layers.norm(x, f"{name}_bn1")
    body = layers.conv_norm(body, f"{name}_conv1", f"{name}_bn2", filters, kernel=3)
    body = layers.act(body, f"{name}_relu1")
    body = layers.conv_norm(body, f"{name}_conv2", f"{name}_bn3", filters, kernel=3, stride=stride)
    return _excite(layers, body, name)


def _unit_v3(layers: Layers, x: str, name: str, filters: int, stride: int, project: bool) -> str:
    """BN, conv, BN, activation, conv with the stride, BN, plus the shortcut; ArcFace's "IR" unit, after Han, 2017."""
    body = _body_v3(layers, x, name, filters, stride)
    return layers.graph.add(body, _shortcut(layers, x, name, filters, stride, project), f"{name}_plus")


def _unit_v4(layers: Layers, x: str, name: str, filters: int, stride: int, project: bool) -> str:
    """Unit 3 without a shortcut if the shape changes."""
    body = _body_v3(layers, x, name, filters, stride)
    return body if project else layers.graph.add(body, x, f"{name}_plus")


def _pooled_shortcut(layers: Layers, x: str, name: str, filters: int, stride: int, project: bool) -> str:
    """Return the shortcut of PyTorch's IR units: the first unit takes every second pixel where the width stays."""
    if project and layers.graph.shapes[x][0] == filters:
        return layers.graph.pool(x, f"{name}_sc", "max", kernel=1, stride=stride)
    return _shortcut(layers, x, name, filters, stride, project)


def _excite_plainly(layers: Layers, x: str, name: str) -> str:
    return layers.squeeze_excite(x, name, SE_RATIO, kind="relu", bias=False) if layers.options.net_se else x


def _unit_v5(layers: Layers, x: str, name: str, filters: int, stride: int, project: bool) -> str:
    """Unit 3 with a pooled shortcut in the first unit; AdaFace's, TFace's and CVLFace's "BasicBlockIR"."""
    body = layers.norm(x, f"{name}_bn1")
    body = layers.conv_norm(body, f"{name}_conv1", f"{name}_bn2", filters, kernel=3)
    body = layers.act(body, f"{name}_relu1")
    body = layers.conv_norm(body, f"{name}_conv2", f"{name}_bn3", filters, kernel=3, stride=stride)
    body = _excite_plainly(layers, body, name)
    return layers.graph.add(body, _pooled_shortcut(layers, x, name, filters, stride, project), f"{name}_plus")


def _unit_v6(layers: Layers, x: str, name: str, filters: int, stride: int, project: bool) -> str:
    """Unit 5 without a BatchNorm between convolution and activation; face.evoLVe's "bottleneck_IR"."""
    body = layers.graph.conv(layers.norm(x, f"{name}_bn1"), f"{name}_conv1", filters, kernel=3, pad=1)
    body = layers.act(body, f"{name}_relu1")
    body = layers.conv_norm(body, f"{name}_conv2", f"{name}_bn3", filters, kernel=3, stride=stride)
    body = _excite_plainly(layers, body, name)
    return layers.graph.add(body, _pooled_shortcut(layers, x, name, filters, stride, project), f"{name}_plus")


UNITS: dict[int, Callable[[Layers, str, str, int, int, bool], str]] = {
    1: _unit_v1,
    2: _unit_v2,
    3: _unit_v3,
    4: _unit_v4,
    5: _unit_v5,
    6: _unit_v6,
}
