"""The original networks, written a second time against MXNet's symbol API, as references for ours."""

from __future__ import annotations

import mxnet as mx
import numpy as np

Symbol = mx.sym.Symbol


def act(x: Symbol, name: str) -> Symbol:
    return mx.sym.LeakyReLU(x, act_type="prelu", name=name)


def conv(x: Symbol, name: str, filters: int, kernel: int, stride: int, pad: int, groups: int = 1) -> Symbol:
    return mx.sym.Convolution(
        x,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        num_group=groups,
        no_bias=True,
        name=name,
    )


def bn(x: Symbol, name: str, **kwargs: object) -> Symbol:
    return mx.sym.BatchNorm(x, fix_gamma=kwargs.pop("fix_gamma", False), momentum=0.9, name=name, **kwargs)


def preprocessed() -> Symbol:
    return (mx.sym.Variable("data") - 127.5) * 0.0078125


def head(x: Symbol, kind: str, size: int) -> Symbol:
    if kind == "GDC":
        x = bn(conv(x, "conv_6dw7_7_conv2d", 512, 7, 1, 0, groups=512), "conv_6dw7_7_batchnorm")
    else:
        x = bn(x, "bn1", eps=2e-5)
        if kind == "E":
            x = mx.sym.Dropout(x, p=0.4)
    x = mx.sym.FullyConnected(x, num_hidden=size, name="pre_fc1")
    return bn(x, "fc1", eps=2e-5, fix_gamma=True)


def fresnet(units: list[int], widths: list[int], output: str, size: int) -> Symbol:
    x = act(bn(conv(preprocessed(), "conv0", widths[0], 3, 1, 1), "bn0", eps=2e-5), "relu0")
    for stage, count in enumerate(units, start=1):
        for unit in range(1, count + 1):
            name, width, stride = f"stage{stage}_unit{unit}", widths[stage], 2 if unit == 1 else 1
            y = conv(bn(x, f"{name}_bn1", eps=2e-5), f"{name}_conv1", width, 3, 1, 1)
            y = act(bn(y, f"{name}_bn2", eps=2e-5), f"{name}_relu1")
            y = bn(conv(y, f"{name}_conv2", width, 3, stride, 1), f"{name}_bn3", eps=2e-5)
            if unit == 1:
                x = bn(conv(x, f"{name}_conv1sc", width, 1, stride, 0), f"{name}_sc", eps=2e-5)
            x = y + x
    return head(x, output, size)


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
