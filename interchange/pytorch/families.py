"""The networks of PyTorch's trainers: how each is found in a state dict, and which of our networks it is.

Depth, widths and sizes follow from names and shapes, so a network is described at once, not searched for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backbones.networks.iresnet import IR_UNITS_PER_STAGE, TORCH_UNITS_PER_STAGE, UNITS_PER_STAGE, WIDTHS
from interchange.pytorch.checkpoint import Anchors
from interchange.pytorch.names import ModuleName, block_module, ir_module, iresnet_module, mbf_module

IMAGE_SIZES = (112, 96, 128, 144, 160, 192, 224)
_HALVINGS = 4
_DEEPEST = 1000  # units or blocks of a stage, more than any network has
_CHANNELS = 512  # of the last feature map
_NARROW = 64  # of MobileFaceNet, times its multiplier
Shapes = Mapping[str, tuple[int, ...]]
Units = tuple[int, ...]


@dataclass(frozen=True)
class Guess:
    """A network of ours, by its options, and the names of its modules in PyTorch."""

    options: dict[str, Any]
    module: ModuleName


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        title: whose it is, for messages.
        anchors: two arrays by which it is found.
        guess: returns the network that the shapes describe; if there is none, the nearest one.
        optional: our arrays that PyTorch's network may not have: a BatchNorm without affine values, no bias.
        note: what to know about its files, empty if there is nothing.
    """

    title: str
    anchors: Anchors
    guess: Callable[[Shapes], Guess]
    optional: tuple[str, ...] = ()
    note: str = ""


def _count(shapes: Iterable[str], pattern: str) -> int:
    """Return how many different numbers the names have at the place of ``pattern``'s group."""
    found = {match[1] for name in shapes if (match := re.match(pattern, name))}
    return min(len(found), _DEEPEST)


def _nearest(depths: Mapping[int, Units], units: Sequence[int]) -> int:
    return min(depths, key=lambda depth: sum(abs(a - b) for a, b in zip(depths[depth], units, strict=True)))


def _sizes(linear: tuple[int, ...]) -> dict[str, int]:
    """Return embedding and image size for the shape of the fully connected layer behind the last feature map."""
    if len(linear) != 2:
        return {}
    side = math.isqrt(linear[1] // _CHANNELS)
    if not side or linear[1] != _CHANNELS * side**2:
        return {"emb_size": linear[0], "image_size": IMAGE_SIZES[0]}
    size = next((size for size in IMAGE_SIZES if -(-size // 2**_HALVINGS) == side), side * 2**_HALVINGS)
    return {"emb_size": linear[0], "image_size": size}


def _guess_iresnet(shapes: Shapes) -> Guess:
    units = tuple(_count(shapes, rf"layer{stage}\.(\d+)\.") for stage in range(1, _HALVINGS + 1))
    # MXNet's networks of other depths have these names too, after oneflow_2_torch.py.
    depths = UNITS_PER_STAGE if units in UNITS_PER_STAGE.values() else TORCH_UNITS_PER_STAGE
    name = "iresnet" if units in TORCH_UNITS_PER_STAGE.values() or depths is TORCH_UNITS_PER_STAGE else "fresnet"
    depths = TORCH_UNITS_PER_STAGE if name == "iresnet" else depths
    output = "FC" if "bn2.weight" in shapes else "J"
    options = {"net_name": name, "num_layers": _nearest(depths, units), "net_output": output}
    return Guess({**options, **_sizes(shapes.get("fc.weight", ()))}, iresnet_module)


def _first(shape: tuple[int, ...], usual: int) -> int:
    return shape[0] if shape else usual


def _mobile(shapes: Shapes, first: str, linear: str, blocks: list[int], name: str = "mbf") -> dict[str, Any]:
    sizes = {"emb_size": _first(shapes.get(linear, ()), 512), "image_size": IMAGE_SIZES[0]}
    multiplier = _first(shapes.get(first, ()), _NARROW) / _NARROW
    known = {"net_output": "GDC", "net_multiplier": multiplier, "net_blocks": [max(count, 1) for count in blocks]}
    return {"net_name": name, **known, **sizes}


def _guess_mbf(shapes: Shapes) -> Guess:
    blocks = [_count(shapes, rf"layers\.{place}\.layers\.(\d+)\.layers") for place in (1, 3, 5, 7)]
    inner = shapes.get("layers.1.layers.0.layers.0.layers.0.weight", ())
    is_mxnets = "features.layers.2.bias" in shapes or (inner and inner[0] == _NARROW)  # after oneflow_2_torch.py
    name = "fmobilefacenet" if is_mxnets else "mbf"
    return Guess(_mobile(shapes, "layers.0.layers.0.weight", "features.layers.2.weight", blocks, name), mbf_module)


def _guess_block(shapes: Shapes) -> Guess:
    blocks = [1, *(_count(shapes, rf"conv_{place}\.model\.(\d+)\.") for place in (3, 4, 5))]
    return Guess(_mobile(shapes, "conv1.conv.weight", "linear.weight", blocks), block_module)


def _guess_ir(shapes: Shapes) -> Guess:
    count = _count(shapes, r"body\.(\d+)\.")
    widths = [_first(shapes.get(f"body.{unit}.res_layer.1.weight", ()), 0) for unit in range(count)]
    depth = _nearest(IR_UNITS_PER_STAGE, [widths.count(width) for width in WIDTHS[1:]])
    has_norm = "body.0.res_layer.2.running_mean" in shapes
    is_projected = "body.0.shortcut_layer.0.weight" in shapes  # in copies that have no pooled shortcut
    unit = (3 if is_projected else 5) if has_norm else 6
    has_se = any(".fc1." in name for name in shapes)
    options = {"net_name": "ir", "num_layers": depth, "net_unit": unit, "net_output": "E", "net_se": int(has_se)}
    module = ir_module(IR_UNITS_PER_STAGE[depth], has_norm)
    return Guess({**options, **_sizes(shapes.get("output_layer.3.weight", ()))}, module)


FAMILIES = (
    Family("arcface_torch's iresnet", ("conv1.weight", "layer1.0.conv1.weight"), _guess_iresnet),
    Family(
        "arcface_torch's MobileFaceNet",
        ("layers.0.layers.0.weight", "conv_sep.layers.0.weight"),
        _guess_mbf,
        ("pre_fc1_bias",),
    ),
    Family(
        "IR of AdaFace, TFace, CVLFace, face.evoLVe, InsightFace_Pytorch, FaceX-Zoo",
        ("input_layer.0.weight", "body.0.res_layer.0.weight"),
        _guess_ir,
        ("fc1_gamma", "fc1_beta"),
        "AdaFace and FaceX-Zoo train such networks on BGR images (--color_order bgr), FaceX-Zoo on (x - 127.5) / 128 "
        "(--input_scale 0.0078125)",
    ),
    Family(
        "MobileFaceNet of InsightFace_Pytorch, face.evoLVe, FaceX-Zoo",
        ("conv1.conv.weight", "conv_23.conv.conv.weight"),
        _guess_block,
        note="FaceX-Zoo trains such networks on BGR images, (x - 127.5) / 128: "
        "--color_order bgr --input_scale 0.0078125",
    ),
)
