"""Estimate the memory of a backbone's feature maps in a training step, without OneFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any

from backbones.graph.network_graph import NetworkGraph, Node
from common.processor import multiplies_bfloat16

_FLOAT = 4
# What a step without the kernels keeps: the inputs of these.
_OPS_KEPT = (
    "conv",
    "batch_norm",
    "prelu",
    "activation",
    "fully_connected",
    "pool",
    "scale_channels",
    "equalize_pixel_norms",
    "layer_norm",
    "attention",
    "drop_path",
)
# The kernels make the outputs of these again in the backward pass, from what they keep.
_REMADE = ("batch_norm", "prelu", "dropout", "drop_path", "scale_shift", "flatten")
_ELSEWHERE = ("input", "scale_shift", "flatten", "dropout", "drop_path")  # take no memory that matters

_FEW_PRODUCTS = 27  # of a convolution, for each number of its output: less is computed again
# Bytes that the kernels take at most for the transformed filters of a convolution, four times as large as it,
# and for the gradient of a fully connected layer that is used up.
_TRANSFORMED, _PIECE = 10_000_000, 4_200_000
# Where the gradients of weights lie in a training step by the kernels.
ELSEWHERE, HELD, USED_UP = "elsewhere", "held", "used up"
# Inference: a 1x1 convolution of a multiple of so many filters, and of at most so many weights, can be computed
# together with the depthwise one behind it.
_PANEL, _CACHED_WEIGHTS = 64, 64 * 1024
# Inference, by the factors of products: the bytes of a weight in the form it is used in, of a 3x3 convolution
# (transformed for Winograd's filtering) and of others, which are used as they are in float32.
_FILTERED_COPY, _COPY = {False: 16.0, True: 32 / 9}, {False: 0.0, True: 2.0}
# The most that float32 copies of a convolution's maps and of the gradients of its input take, if those of one image do.
_WIDENED_PIECE = 16 << 20


class Numbers(Enum):
    """The type of feature maps, and of the factors of products of convolutions."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    WIDENED = "bfloat16, multiplied in float32 by a processor that does not multiply bfloat16"

    @property
    def bytes(self) -> int:
        """Bytes of a number of a feature map."""
        return _FLOAT if self == Numbers.FLOAT32 else 2

    @classmethod
    def of(cls, bfloat16: bool) -> Numbers:
        """Return those of this processor's kernels."""
        if not bfloat16:
            return cls.FLOAT32
        return cls.BFLOAT16 if multiplies_bfloat16() else cls.WIDENED


@dataclass(frozen=True)
class Working:
    """What the backward pass of a node needs at a time, fitted to what the kernels plan.

    Attributes:
        filtered: copies of the larger one of the input and the output of a 3x3 convolution.
        depthwise: the same of a depthwise convolution.
        other: the same of any other node.
        large: where maps are computed again, the same of a node whose map is at least half as large as the largest, but
            for depthwise convolutions: the kernels drop such maps between two uses.
        gaps: copies of the largest map, lost between maps of different sizes and times.
        transformed: copies of the transformed filters of a 3x3 convolution.
    """

    filtered: float
    depthwise: float
    other: float
    large: float
    gaps: float
    transformed: float


# By numbers, then by whether maps are computed again; fitted to y1, r18, r50, and r100.
_WORKING = {
    (Numbers.FLOAT32, False): Working(filtered=3.4, depthwise=3.0, other=3.0, large=3.4, gaps=0.3, transformed=1.5),
    (Numbers.FLOAT32, True): Working(filtered=1.5, depthwise=4.3, other=3.0, large=3.4, gaps=0.0, transformed=2.5),
    (Numbers.BFLOAT16, False): Working(filtered=3.4, depthwise=3.0, other=3.0, large=3.4, gaps=0.6, transformed=0.5),
    (Numbers.BFLOAT16, True): Working(filtered=6.0, depthwise=4.3, other=3.0, large=3.5, gaps=0.0, transformed=0.5),
    (Numbers.WIDENED, False): Working(filtered=3.4, depthwise=3.0, other=3.0, large=3.4, gaps=0.9, transformed=2.5),
    (Numbers.WIDENED, True): Working(filtered=2.5, depthwise=4.8, other=3.0, large=3.8, gaps=0.0, transformed=2.0),
}


def stored_bytes(network: NetworkGraph, batch: int, bfloat16: bool) -> int:
    """Return the bytes of the feature maps of ``batch`` images that OneFlow's kernels keep for backward passes."""
    kept = {name for node in network.nodes if node.op in _OPS_KEPT for name in node.inputs}
    numbers = sum(prod(network.shapes[name]) for name in kept)
    # Logits and weights of all heads.
    numbers += sum(2 * n.attrs["heads"] * network.shapes[n.name][0] ** 2 for n in network.nodes if n.op == "attention")
    return numbers * batch * (2 if bfloat16 else _FLOAT)


def block_bytes(
    network: NetworkGraph, batch: int, numbers: Numbers, recompute: bool = False, gradients: str = ELSEWHERE
) -> int:
    """Return the bytes of the block in which the kernels compute a training step of ``batch`` images.

    The backward pass goes through the nodes from the last to the first. At each it needs the maps that are kept for the
    nodes before, working memory for this one, and the gradients of its weights: if these are ``HELD``, those of the
    nodes behind as well, if they are ``USED_UP`` by an update, no others; otherwise they lie elsewhere.
    """
    number = numbers.bytes
    working = _WORKING[numbers, recompute]
    weights = _weight_bytes(network)
    largest, kept, behind = 0, 0, sum(weights.values())
    widest = max(prod(network.shapes[n.name]) for n in network.nodes if n.op not in _ELSEWHERE) * batch * number
    sums = 0
    for node in network.nodes:
        behind -= weights[node.name]
        maps = max([prod(network.shapes[name]) for name in (node.name, *node.inputs)]) * batch * number
        if node.op in _ELSEWHERE or len(network.shapes[node.name]) == 1:
            maps = 0
        own = weights[node.name]
        is_large = recompute and 2 * maps >= widest
        needed = kept + int(max(_copies(node, working, is_large) * maps, working.gaps * widest))
        if _is_filtered(node):
            needed += int(working.transformed * min(4 * own, _TRANSFORMED))
        if numbers == Numbers.WIDENED:
            needed += _widened_bytes(node, node.inputs, network, batch)
        if gradients == HELD:
            needed += behind + own
        elif gradients == USED_UP:
            needed += min(own, _PIECE) if node.op == "fully_connected" else own
        largest = max(largest, needed)
        if node.op == "add":
            sums += 1
        kept += _kept_bytes(node, network, batch, number, recompute, sums)
    return max(largest, kept)


def _copies(node: Node, working: Working, is_large: bool) -> float:
    """Return the copies of a node's map that its backward pass needs."""
    if node.op == "conv" and node.attrs["groups"] > 1:
        return working.depthwise
    if is_large:
        return working.large
    return working.filtered if _is_filtered(node) else working.other


def _kept_bytes(node: Node, network: NetworkGraph, batch: int, number: int, recompute: bool, sums: int) -> int:
    """Return the bytes of a node's output if it is kept. Of the sums of residual units every second one is."""
    if node.op == "input" or node.op in _REMADE or _is_first(node, network):
        return 0
    kept = not recompute or len(network.shapes[node.name]) == 1
    if node.op == "add":
        kept = recompute or sums % 2 == 0
    return prod(network.shapes[node.name]) * batch * number if kept else 0


def _is_filtered(node: Node) -> bool:
    """Return whether it is a 3x3 convolution over all channels."""
    return node.op == "conv" and node.attrs["kernel"] == 3 and node.attrs["groups"] == 1


def _is_first(node: Node, network: NetworkGraph) -> bool:
    """Return whether it is a convolution of so few products that its output is made again."""
    if node.op != "conv" or node.attrs["groups"] > 1:
        return False
    return node.attrs["kernel"] ** 2 * network.shapes[node.inputs[0]][0] <= _FEW_PRODUCTS


def _widened_bytes(node: Node, inputs: Sequence[str], network: NetworkGraph, batch: int, is_whole: bool = False) -> int:
    """Return the bytes of the float32 copies of a convolution's maps, of some images at a time unless ``is_whole``."""
    if node.op != "conv":
        return 0
    read, written = (sum(prod(network.shapes[name]) for name in names) for names in (inputs, [node.name]))
    images = batch if is_whole else min(max(_WIDENED_PIECE // ((2 * read + written) * _FLOAT), 1), batch)
    while batch % images:
        images -= 1
    return images * (read + written) * _FLOAT


def inference_bytes(network: NetworkGraph, batch: int, numbers: Numbers) -> int:
    """Return the bytes that the kernels take to embed ``batch`` images, with their copies of weights."""
    bfloat16 = numbers == Numbers.BFLOAT16
    weights = _weight_bytes(network)
    copies = sum(
        weights[node.name] // _FLOAT * (_FILTERED_COPY[bfloat16] if _is_filtered(node) else _COPY[bfloat16])
        for node in network.nodes
        if node.op in ("conv", "fully_connected")
    )
    readers = Counter(name for node in network.nodes for name in node.inputs)
    expanded = _expanded(network, readers)
    last_use = dict[str, int]()
    for place, node in enumerate(network.nodes):
        last_use |= dict.fromkeys((*node.inputs, *expanded.get(node.name, ())), place)
    never_whole = {name for names in expanded.values() for name in names[1:]}
    largest, live = 0, dict[str, int]()
    for place, node in enumerate(network.nodes):
        if node.op in _REMADE and readers[node.inputs[0]] == 1:
            live.pop(node.inputs[0], None)  # computed together with what comes before
        if node.op not in _ELSEWHERE and node.name not in never_whole:
            live[node.name] = prod(network.shapes[node.name])
            needed = sum(live.values()) * batch * numbers.bytes
            if numbers == Numbers.WIDENED:
                whole = node.name in expanded
                read = expanded[node.name][:1] if whole else node.inputs
                needed += _widened_bytes(node, read, network, batch, whole)
            largest = max(largest, needed)
        live = {name: size for name, size in live.items() if last_use.get(name, 0) > place}
    return int(largest + copies)


def _expanded(network: NetworkGraph, readers: Mapping[str, int]) -> dict[str, list[str]]:
    """Return what the kernels compute together with depthwise convolutions in inference, by the names of these.

    The first name is that of the map which a 1x1 convolution expands. The maps behind it are never in memory.
    """
    nodes = {node.name: node for node in network.nodes}
    found = {}
    for node in network.nodes:
        if not _is_depthwise(node, network):
            continue
        names = list(node.inputs)
        while readers[names[0]] == 1 and nodes[names[0]].op in ("batch_norm", "prelu"):
            names.insert(0, nodes[names[0]].inputs[0])
        if readers[names[0]] == 1 and _expands(nodes[names[0]], network):
            found[node.name] = [*nodes[names[0]].inputs, *names]
    return found


def _is_depthwise(node: Node, network: NetworkGraph) -> bool:
    """Return whether it is a depthwise 3x3 convolution that the kernels compute line by line."""
    if node.op != "conv" or node.attrs["groups"] == 1:
        return False
    channels = network.shapes[node.inputs[0]][0]
    fits = (node.attrs["kernel"], node.attrs["pad"], node.attrs["groups"]) == (3, 1, channels)
    return fits and network.shapes[node.name][0] == channels


def _expands(node: Node, network: NetworkGraph) -> bool:
    """Return whether it is a 1x1 convolution that the kernels compute some lines of at a time."""
    if node.op != "conv" or (node.attrs["kernel"], node.attrs["stride"], node.attrs["groups"]) != (1, 1, 1):
        return False
    channels, filters = network.shapes[node.inputs[0]][0], network.shapes[node.name][0]
    return filters % _PANEL == 0 and channels * filters <= _CACHED_WEIGHTS


def _weight_bytes(network: NetworkGraph) -> Mapping[str, int]:
    """Return the bytes of the trained arrays of each node."""
    specs: Mapping[str, Any] = network.parameters()
    return {
        node.name: sum(prod(specs[name].shape) * _FLOAT for name in node.arrays.values() if specs[name].trainable)
        for node in network.nodes
    }
