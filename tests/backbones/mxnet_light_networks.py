"""MobileNet, MnasNet, DenseNet and VarGFaceNet, written a second time against MXNet's API, as references for ours."""

from __future__ import annotations

import mxnet as mx
from mxnet.gluon import contrib, nn

from tests.backbones.mxnet_networks import Symbol, act, bn, conv, head, preprocessed, squeeze_excite


def mobilenet(multiplier: float, net_input: int, output: str, size: int) -> Symbol:
    base = int(32 * multiplier)

    def block(x: Symbol, name: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Symbol:
        x = conv(x, f"{name}_conv2d", filters, kernel, stride, kernel // 2, groups)
        return act(bn(x, f"{name}_batchnorm", fix_gamma=True), f"{name}_relu")

    x = block(preprocessed(), "conv_1", base, 3, 1 if net_input else 2)
    channels = base
    for number in range(2, 15):
        x = block(x, f"conv_{number}_dw", channels, 3, 2 if number in (3, 5, 7, 13) else 1, channels)
        channels = base * {2: 2, 3: 4, 4: 4, 5: 8, 6: 8}.get(number, 32 if number > 12 else 16)
        x = block(x, f"conv_{number}", channels)
    return head(x, output, size, channels)


def sequence(*layers: nn.HybridBlock, prefix: str | None = None) -> nn.HybridSequential:
    """The layers in a row, for those that were made in the scope that names them."""
    block = nn.HybridSequential(prefix=prefix)
    block.add(*layers)
    return block


class ExpandedConv(nn.HybridBlock):
    """Its class has the original's name, of which Gluon makes the names of the arrays."""

    def __init__(self, channels: int, filters: int, expansion: int, stride: int, kernel: int, add: bool) -> None:
        super().__init__()
        self.add = add
        inner = channels * expansion
        with self.name_scope():
            self.expand, self.dwise, self.linear = (nn.HybridSequential(f"{n}_") for n in ("expand", "dwise", "linear"))
        with self.expand.name_scope():
            self.expand.add(nn.Conv2D(inner, 1, use_bias=False), nn.BatchNorm(), nn.PReLU())
        with self.dwise.name_scope():
            self.dwise.add(nn.Conv2D(inner, kernel, stride, kernel // 2, groups=inner, use_bias=False))
            self.dwise.add(nn.BatchNorm(), nn.PReLU())
        with self.linear.name_scope():
            self.linear.add(nn.Conv2D(filters, 1, use_bias=False), nn.BatchNorm())

    def hybrid_forward(self, F: object, x: Symbol) -> Symbol:
        y = self.linear(self.dwise(self.expand(x)))
        return y + x if self.add else y


def mnasnet(multiplier: float, output: str, size: int) -> Symbol:
    first, second, last = (int(width * multiplier) for width in (32, 16, 1024))
    net = nn.HybridSequential(prefix="mnasnet0_")
    with net.name_scope():
        stem = nn.HybridSequential(prefix="stage1_conv0_")
        with stem.name_scope():
            stem.add(nn.Conv2D(first, 3, 1, 1, use_bias=False), nn.BatchNorm(), nn.PReLU())
        separable = nn.HybridSequential(prefix="stage1_sepconv0_")
        with separable.name_scope():
            separable.add(nn.Conv2D(first, 3, 1, 1, groups=first, use_bias=False), nn.BatchNorm(), nn.PReLU())
            separable.add(nn.Conv2D(second, 1, use_bias=False), nn.BatchNorm(), nn.PReLU())
        net.add(stem, separable)
        channels = second
        for expansion, width, count, stride, kernel, prefix in (
            (3, 24, 3, 2, 3, "stage2_"),
            (3, 40, 3, 2, 5, "stage3_"),
            (6, 80, 3, 2, 5, "stage4_1_"),
            (6, 96, 2, 1, 3, "stage4_2_"),
            (6, 192, 4, 2, 5, "stage5_1_"),
            (6, 320, 1, 1, 3, "stage5_2_"),
        ):
            filters = int(width * multiplier)
            group = nn.HybridSequential(prefix=prefix)
            with group.name_scope():
                group.add(ExpandedConv(channels, filters, expansion, stride, kernel, add=False))
                for _ in range(count - 1):
                    group.add(ExpandedConv(filters, filters, expansion, 1, 3, add=True))
            net.add(group)
            channels = filters
        end = nn.HybridSequential(prefix="stage5_3_")
        with end.name_scope():
            end.add(nn.Conv2D(last, 1, use_bias=False), nn.BatchNorm(), nn.PReLU())
        net.add(end)
    return whole(net, output, size, last)


def densenet(first: int, growth: int, blocks: list[int], output: str, size: int) -> Symbol:
    net = nn.HybridSequential(prefix="densenet0_")
    with net.name_scope():
        net.add(nn.Conv2D(first, 3, 1, 1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
        net.add(nn.MaxPool2D(3, 2, 1))
        channels = first
        for number, count in enumerate(blocks, start=1):
            block = nn.HybridSequential(prefix=f"stage{number}_")
            with block.name_scope():
                for _ in range(count):
                    layer = sequence(nn.BatchNorm(), nn.PReLU(), nn.Conv2D(4 * growth, 1, use_bias=False), prefix="")
                    layer.add(nn.BatchNorm(), nn.PReLU(), nn.Conv2D(growth, 3, 1, 1, use_bias=False))
                    both = contrib.nn.HybridConcurrent(axis=1, prefix="")
                    both.add(contrib.nn.Identity(), layer)
                    block.add(both)
            net.add(block)
            channels += count * growth
            if number < len(blocks):
                channels //= 2
                net.add(nn.BatchNorm(), nn.PReLU(), nn.Conv2D(channels, 1, use_bias=False), nn.AvgPool2D(2, 2))
        net.add(nn.BatchNorm(), nn.Activation("relu"))
    return whole(net, output, size, channels)


def whole(net: nn.HybridBlock, output: str, size: int, channels: int) -> Symbol:
    """The symbol of a Gluon network between preprocessing and output; GDC is as wide as the map."""
    x = net(preprocessed())
    if output != "GDC":
        return head(x, output, size, channels)
    x = bn(conv(x, "conv_6dw7_7_conv2d", channels, 7, 1, 0, groups=channels), "conv_6dw7_7_batchnorm")
    x = mx.sym.FullyConnected(x, num_hidden=size, name="pre_fc1")
    return bn(x, "fc1", eps=2e-5, fix_gamma=True)


def vargfacenet(multiplier: float, se: bool, size: int, units: tuple[int, ...] = (3, 7, 4)) -> Symbol:
    widths = [int(width * multiplier) for width in (32, 64, 128, 256)]

    def step(x: Symbol, name: str, filters: int, kernel: int, stride: int, groups: int, pad: int = 0) -> Symbol:
        return bn(conv(x, name, filters, kernel, stride, pad, groups), f"{name}_bn", eps=2e-5)

    def separable(x: Symbol, name: str, channels: int, filters: int, stride: int, factor: int, last: bool) -> Symbol:
        x = step(x, f"{name}_conv2d_depthwise", channels * factor, 3, stride, channels // 8, 1)
        x = act(x, f"{name}_conv2d_depthwise_act")
        x = step(x, f"{name}_conv2d_pointwise", filters, 1, 1, 1)
        return act(x, f"{name}_conv2d_pointwise_act") if last else x

    x = act(step(preprocessed(), "vargface_head_conv1", widths[0], 3, 1, 1, 1), "vargface_head_conv1_act")
    name, width = "vargface_head_head_pooling", widths[0]
    short = separable(x, f"{name}_shortcut", width, width, 2, 1, False)
    y = separable(x, f"{name}_sep1_data", width, width, 2, 1, True)
    y = separable(y, f"{name}_sep2_data", width, width, 1, 1, False)
    x = act((squeeze_excite(y, name, width, 4, "act1") if se else y) + short, f"{name}_out_data_act")
    for stage, count in enumerate(units, start=2):
        before, width = widths[stage - 2], widths[stage - 1]
        name = f"vargface_stage_{stage}_unit_1"
        short = separable(x, f"{name}_shortcut", before, width, 2, 2, False)
        one = separable(x, f"{name}_sep1_data_branch", before, width, 2, 2, False)
        two = separable(x, f"{name}_sep2_data_branch", before, width, 2, 2, False)
        y = separable(act(one + two, f"{name}_sep1_data_act"), f"{name}_sep2_data", width, width, 1, 2, False)
        x = act(y + short, f"{name}_out_data_act")
        for unit in range(2, count + 1):
            name = f"vargface_stage_{stage}_unit_{unit}"
            y = separable(x, f"{name}_sep1_data", width, width, 1, 2, True)
            y = separable(y, f"{name}_sep2_data", width, width, 1, 2, False)
            x = act((squeeze_excite(y, name, width, 4, "act1") if se else y) + x, f"{name}_out_data_act")
    x = act(step(x, "embed_convx", 1024, 1, 1, 1), "embed_convx_act")
    x = step(x, "embed_convx_depthwise", 1024, 7, 1, 128)
    x = act(step(x, "embed_convx_pointwise", 512, 1, 1, 1), "embed_convx_pointwise_act")
    return head(x, "J", size)
