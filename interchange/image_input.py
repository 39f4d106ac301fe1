"""How a model of another program takes its images: what its file says, what is assumed, and what the user says.

Every network here takes RGB, 0..255, with its preprocessing inside. A foreign one is brought to that when it is read:
if it takes BGR, the input channels of its first convolution change places, which is exact; mean and scale become its
first node. They are not folded into the convolution: with another mean, the zeros of its padding would stand for other
pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backbones.graph.network_graph import NetworkGraph, Node
from common.errors import UserError
from interchange.foreign_model import ForeignModel
from snapshots.layout import describe_network

OWN_MEAN, OWN_SCALE = 127.5, 0.0  # values of the flags for what a file or network has without them
RGB, BGR = "rgb", "bgr"
_FLAGS = "--color_order, --input_mean and --input_scale"


@dataclass(frozen=True)
class InputFlags:
    """What the user says about the images of a foreign model.

    Attributes:
        color_order: order of the channels, rgb or bgr.
        input_mean: the number that is subtracted from the pixels, 0..255.
        input_scale: the factor after that; 0: that of the file, or 1 / 127.5 if it has none.
    """

    color_order: str = RGB
    input_mean: float = OWN_MEAN
    input_scale: float = OWN_SCALE

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> InputFlags:
        """Take them from the settings of a command; missing ones have their defaults."""
        return cls(**{key: settings[key] for key in cls.__dataclass_fields__ if key in settings})

    @property
    def are_given(self) -> bool:
        """Whether any differs from its default."""
        return self != InputFlags()


def take_images(foreign: ForeignModel, flags: InputFlags) -> ForeignModel:
    """Return the model as a network for RGB images, 0..255, with a note on what was assumed.

    Raises:
        UserError: the flags contradict the file, or the first layer does not let the order of the channels change.
    """
    if foreign.exported_from:
        if flags.are_given:
            raise UserError(f"{foreign.source} is a file of this project and says how it takes images; omit {_FLAGS}")
        return foreign
    shift = _find_shift(foreign.network)
    says = flags.input_mean != OWN_MEAN or flags.input_scale != OWN_SCALE
    inside = foreign.preprocesses and shift is not None
    if inside and says and not _agrees(shift, flags):
        raise UserError(
            f"{foreign.source} normalises its images itself, {format_shift(shift.attrs)}; omit --input_mean and "
            "--input_scale"
        )
    if says and not inside:
        wanted = {"mean": flags.input_mean, "scale": flags.input_scale or (shift.attrs["scale"] if shift else 1.0)}
        foreign = _with_shift(foreign, wanted, shift)
        shift = _find_shift(foreign.network)
    if flags.color_order == BGR:
        foreign = foreign.replaced(arrays=_swap_channels(foreign), color_order=BGR)
    return foreign.with_notes(_describe(foreign, flags, shift, inside, says))


def _describe(foreign: ForeignModel, flags: InputFlags, shift: Node | None, inside: bool, says: bool) -> str:
    order = f"images as {flags.color_order.upper()}"
    by_order = "" if flags.color_order == BGR else ": assumed"
    layout = "" if foreign.layout == "NCHW" else f", axes {foreign.layout}"
    if inside:
        return f"{order}{by_order}{layout}; {format_shift(shift.attrs)} is in the file"
    what = f"{order}, {format_shift(shift.attrs)}" if shift else f"{order}, 0..255 as they are"
    if not says:
        return f"{what}{layout}: assumed"
    return f"{what}{layout}: as the flags say{', the order assumed' if by_order else ''}"


def format_shift(shift: Mapping[str, float]) -> str:
    """Return a preprocessing as a formula, such as ``(x - 127.5) / 128``."""
    mean, scale = shift["mean"], shift["scale"]
    divisor = float(f"{1 / scale:.6g}") if scale else 0.0
    short = divisor and abs(1 / divisor / scale - 1) < 1e-6 and len(f"{divisor:.6g}") < len(f"{scale:.6g}")
    return f"(x - {mean:g})" + (f" / {divisor:g}" if short else f" * {scale:.7g}")


def as_the_file_takes(foreign: ForeignModel) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that makes of images [N, 3, S, S], RGB 0..255, those that the file of a model takes."""
    shift = None if foreign.preprocesses else _find_shift(foreign.network)

    def prepare(images: np.ndarray) -> np.ndarray:
        images = images[:, ::-1] if foreign.color_order == BGR else images
        if shift is not None:
            images = (images - np.float32(shift.attrs["mean"])) * np.float32(shift.attrs["scale"])
        return np.ascontiguousarray(images)

    return prepare


def require_same_images(name: str, about: Mapping[str, Any], network: NetworkGraph) -> None:
    """Check that a snapshot and a network subtract the same mean from their images and scale them by the same factor.

    Args:
        name: the snapshot.
        about: its manifest.
        network: the network that is to take its weights.

    Raises:
        UserError: they do not.
    """
    theirs, ours = about.get("preprocessing"), describe_network(network)["preprocessing"]
    if theirs and any(np.float32(theirs[key]) != np.float32(ours[key]) for key in ("mean", "scale")):
        raise UserError(
            f"{name} takes images as {format_shift(theirs)} and this run as {format_shift(ours)}; "
            f"add --input_mean {theirs['mean']:g} --input_scale {theirs['scale']!r}"
        )


def _find_shift(network: NetworkGraph) -> Node | None:
    """Return the preprocessing, if the network starts with one."""
    image = next(node.name for node in network.nodes if node.op == "input")
    return next((node for node in network.nodes if node.op == "scale_shift" and image in node.inputs), None)


def _agrees(shift: Node, flags: InputFlags) -> bool:
    scale = flags.input_scale or shift.attrs["scale"]
    return bool(np.isclose([shift.attrs["mean"], shift.attrs["scale"]], [flags.input_mean, scale], rtol=1e-6).all())


def _with_shift(foreign: ForeignModel, wanted: Mapping[str, float], shift: Node | None) -> ForeignModel:
    """Return the model with another preprocessing; of one that has none, it is the first node."""
    network, view, renamed = foreign.network, NetworkGraph(), {}
    for node in network.nodes:
        inputs = [renamed.get(name, name) for name in node.inputs]
        view.add_like(network, node, inputs, **(wanted if shift is not None and node.name == shift.name else {}))
        if node.op == "input" and shift is None:
            renamed[node.name] = view.scale_shift(node.name, "preprocess", **wanted)
    return foreign.replaced(network=view, preprocesses=False)


def _swap_channels(foreign: ForeignModel) -> dict[str, np.ndarray]:
    """Return the arrays of the network that takes the channels in the opposite order."""
    arrays, carriers = dict(foreign.arrays), set()
    for node in foreign.network.nodes:
        if node.op == "input":
            carriers.add(node.name)
        if not carriers & set(node.inputs):
            continue
        if node.op == "conv" and node.attrs["groups"] == 1:
            name = node.arrays["weight"]
            arrays[name] = np.ascontiguousarray(arrays[name][:, ::-1])
        elif node.op in ("scale_shift", "batch_norm", "prelu", "activation"):
            carriers.add(node.name)
            arrays |= {name: np.ascontiguousarray(arrays[name][::-1]) for name in node.arrays.values()}
        else:
            raise UserError(f"{foreign.source}: --color_order bgr: its first layer, {node.name}, is a {node.op}")
    return arrays
