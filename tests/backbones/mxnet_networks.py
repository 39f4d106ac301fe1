"""The original networks, written a second time against MXNet's symbol API, as references for ours."""

from __future__ import annotations

import mxnet as mx
import numpy as np

Symbol = mx.sym.Symbol


def act(x: Symbol, name: str, kind: str = "prelu") -> Symbol:
    if kind == "prelu":
        return mx.sym.LeakyReLU(x, act_type="prelu", name=name)
    return mx.sym.Activation(x, act_type=kind, name=name)


def conv(
    x: Symbol, name: str, filters: int, kernel: int, stride: int, pad: int, groups: int = 1, bias: bool = False
) -> Symbol:
    return mx.sym.Convolution(
        x,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        num_group=groups,
        no_bias=not bias,
        name=name,
    )


def bn(x: Symbol, name: str, **kwargs: object) -> Symbol:
    return mx.sym.BatchNorm(x, fix_gamma=kwargs.pop("fix_gamma", False), momentum=0.9, name=name, **kwargs)


def preprocessed() -> Symbol:
    return (mx.sym.Variable("data") - 127.5) * 0.0078125


def average(x: Symbol) -> Symbol:
    return mx.sym.Pooling(x, global_pool=True, kernel=(7, 7), pool_type="avg")


def squeeze_excite(x: Symbol, name: str, channels: int, ratio: int, middle: str) -> Symbol:
    y = act(conv(average(x), f"{name}_se_conv1", channels // ratio, 1, 1, 0, bias=True), f"{name}_se_{middle}")
    y = conv(y, f"{name}_se_conv2", channels, 1, 1, 0, bias=True)
    return mx.sym.broadcast_mul(x, mx.sym.Activation(y, act_type="sigmoid"))


def dense(x: Symbol, name: str, size: int) -> Symbol:
    return mx.sym.FullyConnected(x, num_hidden=size, name=name)


def norm_aware_pooling(x: Symbol, size: int, channels: int) -> Symbol:
    if size > channels:
        x = act(bn(conv(x, "convx", size, 1, 1, 0), "convx_bn", eps=2e-5), "convx_relu")
        channels = size
    x = bn(x, "bn6f", eps=2e-5, fix_gamma=True)
    norms = mx.sym.sqrt(mx.sym.sum(x * x, axis=1, keepdims=True))
    x = average(x * mx.sym.tile(mx.sym.broadcast_div(mx.sym.mean(norms), norms), reps=(1, channels, 1, 1)))
    if size < channels:
        return dense(bn(x, "bn6w", eps=2e-5, fix_gamma=True), "pre_fc1", size)
    return mx.sym.Flatten(x)


def head(x: Symbol, kind: str, size: int, channels: int = 512) -> Symbol:
    """The output layers of a map of ``channels`` channels; GDC has 512 groups at most."""
    if kind == "GDC":
        groups = min(channels, 512)
        x = bn(conv(x, "conv_6dw7_7_conv2d", groups, 7, 1, 0, groups=groups), "conv_6dw7_7_batchnorm")
    elif kind == "GNAP":
        return bn(norm_aware_pooling(x, size, channels), "fc1", eps=2e-5, fix_gamma=True)
    elif kind not in ("H", "J"):
        x = bn(x, "bn1", eps=2e-5)
    if kind in ("E", "F", "Z"):
        x = mx.sym.Dropout(x, p=0.4)
    if kind == "GAP":
        x = average(act(x, "relu1"))
    if kind == "SFC":
        x = act(bn(conv(x, "convf", channels, 3, 2, 1, groups=channels), "bnf", eps=2e-5), "reluf")
        x = act(bn(conv(x, "convf2", channels, 1, 1, 0, bias=True), "bnf2", eps=2e-5), "reluf2")
    if kind == "Z":
        return mx.sym.Flatten(x, name="fc1")
    if kind in ("F", "G", "H"):
        return dense(x, "fc1", size)
    return bn(dense(x, "pre_fc1", size), "fc1", eps=2e-5, fix_gamma=True)


def residual_unit(x: Symbol, name: str, width: int, first: bool, version: int, se: bool, net_input: int) -> Symbol:
    stride = 2 if first else 1

    def norm(x: Symbol, suffix: str) -> Symbol:
        return bn(x, f"{name}_{suffix}", eps=2e-5)

    def conv3(x: Symbol, number: int, stride: int) -> Symbol:
        return conv(x, f"{name}_conv{number}", width, 3, stride, 1)

    if version == 1:
        early = net_input == 0
        y = norm(conv3(x, 1, stride if early else 1), "bn1")
        y = norm(conv3(act(y, f"{name}_relu1"), 2, 1 if early else stride), "bn2")
    elif version == 2:
        start = act(norm(x, "bn1"), f"{name}_relu1")
        y = conv3(act(norm(conv3(start, 1, stride), "bn2"), f"{name}_relu2"), 2, 1)
    else:
        y = act(norm(conv3(norm(x, "bn1"), 1, 1), "bn2"), f"{name}_relu1")
        y = norm(conv3(y, 2, stride), "bn3")
    if se:
        y = squeeze_excite(y, name, width, 16, "relu1")
    if first and version == 4:
        return y
    if first:
        if version == 2:
            x = conv(start, f"{name}_sc", width, 1, stride, 0)
        else:
            x = norm(conv(x, f"{name}_conv1sc", width, 1, stride, 0), "sc")
    return act(y + x, f"{name}_relu3") if version == 1 else y + x


def fresnet(
    units: list[int], widths: list[int], output: str, size: int, version: int = 3, se: bool = False, net_input: int = 1
) -> Symbol:
    x = bn(mx.sym.Variable("data"), "bn_data", eps=2e-5, fix_gamma=True) if net_input == 2 else preprocessed()
    x = conv(x, "conv0", widths[0], 7, 2, 3) if net_input == 0 else conv(x, "conv0", widths[0], 3, 1, 1)
    x = act(bn(x, "bn0", eps=2e-5), "relu0")
    for stage, count in enumerate(units, start=1):
        for unit in range(1, count + 1):
            name = f"stage{stage}_unit{unit}"
            x = residual_unit(x, name, widths[stage], unit == 1, version, se, net_input)
    return head(x, output, size, widths[-1])


def mobilefacenet(blocks: list[int], output: str, size: int) -> Symbol:
    def conv_bn(x: Symbol, name: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Symbol:
        return bn(conv(x, f"{name}_conv2d", filters, kernel, stride, kernel // 2, groups), f"{name}_batchnorm")

    def conv_bn_act(x: Symbol, name: str, *args: int) -> Symbol:
        return act(conv_bn(x, name, *args), f"{name}_relu")

    def depthwise(x: Symbol, name: str, filters: int, groups: int, stride: int) -> Symbol:
        x = conv_bn_act(x, f"{name}_conv_sep", groups)
        x = conv_bn_act(x, f"{name}_conv_dw", groups, 3, stride, groups)
        return conv_bn(x, f"{name}_conv_proj", filters)

    def residuals(x: Symbol, name: str, count: int, filters: int, groups: int) -> Symbol:
        for index in range(count):
            x = depthwise(x, f"{name}_block{index}", filters, groups, 1) + x
        return x

    x = conv_bn_act(preprocessed(), "conv_1", 64, 3, 2)
    x = conv_bn_act(x, "conv_2_dw", 64, 3, 1, 64) if blocks[0] == 1 else residuals(x, "res_2", blocks[0], 64, 64)
    x = residuals(depthwise(x, "dconv_23", 64, 128, 2), "res_3", blocks[1], 64, 128)
    x = residuals(depthwise(x, "dconv_34", 128, 256, 2), "res_4", blocks[2], 128, 256)
    x = residuals(depthwise(x, "dconv_45", 128, 512, 2), "res_5", blocks[3], 128, 256)
    return head(conv_bn_act(x, "conv_6sep", 512), output, size)


def bind(symbol: Symbol, arrays: dict[str, np.ndarray], images: np.ndarray) -> mx.executor.Executor:
    """An executor of ``symbol`` that holds ``arrays`` and ``images`` and can go backward."""
    executor = symbol.simple_bind(mx.cpu(), grad_req="write", data=images.shape)
    executor.copy_params_from(
        {name: mx.nd.array(arrays[name]) for name in executor.arg_dict if name != "data"},
        {name: mx.nd.array(arrays[name]) for name in executor.aux_dict},
    )
    executor.arg_dict["data"][:] = images
    return executor
