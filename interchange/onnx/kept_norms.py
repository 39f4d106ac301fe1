"""Keeps folded BatchNorms in the metadata of an ONNX file, and takes them out of the layers again, bit by bit.

A folded weight is ``w * scale`` of its channel, rounded to float32; divided by the scale it is at most one unit in
the last place away from ``w``. The metadata hold the BatchNorm's arrays and, for each weight, this difference: about 2%
of the weights' size. A checksum says whether they still belong to the weights of the file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.json_text import parse_json
from interchange.matching.adapt import NORM_ROLES
from interchange.matching.canonical_layers import LINEAR
from interchange.matching.fold_batch_norm import add_linear, foldable_norms, folded_name, read_norm

Arrays = Mapping[str, np.ndarray]
KEPT_NORMS = "folded_batch_norms"  # key of the metadata
_DIGITS = 3 ** np.arange(5)  # five differences of -1, 0 or 1 in a byte


class DamageError(ValueError):
    """The metadata do not hold what ``describe_norms`` writes."""


def describe_norms(network: NetworkGraph, arrays: Arrays, folded: Arrays, exact: bool = True) -> str:
    """Return the metadata with which ``unfold`` gives back ``network`` and ``arrays``, as JSON.

    Args:
        network: the network before folding.
        arrays: its arrays.
        folded: the arrays after folding, as the file stores them.
        exact: whether to keep the differences of the weights; without them those of the file are divided by the scale.
    """
    nodes = {node.name: node for node in network.nodes}
    layers = {}
    for linear, norm in foldable_norms(network).items():
        name = folded_name(network, linear, norm)
        gamma, beta, mean, variance = read_norm(norm, arrays)
        about = {
            "linear": linear,
            "norm": norm.name,
            **{key: norm.attrs[key] for key in ("eps", "momentum", "fix_gamma")},
            "beta": _encode(beta),
            "moving_mean": _encode(mean),
            "moving_var": _encode(variance),
        }
        if not norm.attrs["fix_gamma"]:
            about["gamma"] = _encode(gamma)
        if "bias" in nodes[linear].arrays:
            about["bias"] = _encode(arrays[nodes[linear].arrays["bias"]])
        if exact:
            weight = np.asarray(arrays[nodes[linear].arrays["weight"]], np.float32)
            about |= _describe_weight(weight, _divide(folded[f"{name}_weight"], gamma, variance, norm.attrs["eps"]))
        layers[name] = about
    return json.dumps({"sha256": _checksum(layers, folded), "layers": layers})


def unfold(network: NetworkGraph, arrays: Arrays, text: str) -> tuple[NetworkGraph, dict[str, np.ndarray]] | None:
    """Return the network and the arrays from before the folding.

    Args:
        network: the folded network, read from a file.
        arrays: its arrays.
        text: the metadata.

    Returns:
        None if layers or weights of the file are not those that the metadata were written for.

    Raises:
        DamageError: the metadata are damaged.
    """
    try:
        kept = parse_json(text)
        layers = kept["layers"]
        nodes = {node.name: node for node in network.nodes if node.op in LINEAR and "bias" in node.arrays}
        if not set(layers) <= set(nodes) or kept["sha256"] != _checksum(layers, _by_plain_name(nodes, layers, arrays)):
            return None
        return _restore(network, arrays, layers)
    except (ValueError, TypeError, LookupError, AttributeError, zlib.error) as error:
        raise DamageError(str(error)) from error


def _restore(
    network: NetworkGraph, arrays: Arrays, layers: Mapping[str, Mapping[str, Any]]
) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
    whole, values, renamed = NetworkGraph(), {}, {}
    for node in network.nodes:
        inputs = [renamed.get(name, name) for name in node.inputs]
        own = {role: arrays[name] for role, name in node.arrays.items()}
        if node.name not in layers:
            whole.add_like(network, node, inputs)
            values |= {name: own[role] for role, name in whole.nodes[-1].arrays.items()}
            continue
        about = layers[node.name]
        channels = len(own["weight"])
        norm = {role: _decode(about[role], channels) for role in NORM_ROLES if role in about}
        norm.setdefault("gamma", np.ones(channels, np.float32))
        quotient = _divide(own["weight"], norm["gamma"], norm["moving_var"], about["eps"])
        own = {"weight": _correct(quotient, about) if "differences" in about else quotient}
        if "bias" in about:
            own["bias"] = _decode(about["bias"], channels)
        if not (about["linear"].isidentifier() and about["norm"].isidentifier()):
            raise ValueError(f"'{about['linear']}' or '{about['norm']}' is not a name")
        linear = add_linear(whole, node, inputs[0], about["linear"], bias="bias" in about)
        values |= {name: own[role] for role, name in whole.nodes[-1].arrays.items()}
        constants = (float(about["eps"]), float(about["momentum"]), bool(about["fix_gamma"]))
        renamed[node.name] = whole.batch_norm(linear, about["norm"], *constants)
        values |= {name: norm[role] for role, name in whole.nodes[-1].arrays.items()}
    return whole, values


def _by_plain_name(nodes: Mapping[str, Any], layers: Iterable[str], arrays: Arrays) -> dict[str, np.ndarray]:
    """Return weights and biases under the names that ``describe_norms`` knows them by."""
    return {f"{name}_{role}": arrays[nodes[name].arrays[role]] for name in layers for role in ("weight", "bias")}


def _checksum(layers: Iterable[str], folded: Arrays) -> str:
    """Return the SHA-256 of the folded weights and biases as float32."""
    total = hashlib.sha256()
    for name in layers:
        for role in ("weight", "bias"):
            total.update(np.ascontiguousarray(folded[f"{name}_{role}"], "<f4").data)
    return total.hexdigest()


def _divide(weight: np.ndarray, gamma: np.ndarray, variance: np.ndarray, eps: float) -> np.ndarray:
    """Return the folded weight divided by the scale of its channel, float32."""
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + eps)
    with np.errstate(all="ignore"):  # a gamma of 0: such a channel is kept as it is
        return (weight / scale.reshape((-1,) + (1,) * (weight.ndim - 1))).astype(np.float32)


def _describe_weight(weight: np.ndarray, quotient: np.ndarray) -> dict[str, Any]:
    """Return what turns ``quotient`` into ``weight``: differences of their bits, and whole channels without those."""
    difference = _bits(weight) - _bits(quotient)
    far = np.flatnonzero((np.abs(difference) > 1).any(axis=1))
    difference[far] = 0
    digits = (difference + 1).reshape(-1).astype(np.uint8)
    digits = np.pad(digits, (0, -len(digits) % len(_DIGITS))).reshape(-1, len(_DIGITS))
    packed = zlib.compress((digits @ _DIGITS).astype(np.uint8).tobytes())
    channels = {str(channel): _encode(weight[channel]) for channel in far}
    return {"differences": base64.b64encode(packed).decode(), **({"channels": channels} if channels else {})}


def _correct(quotient: np.ndarray, about: Mapping[str, Any]) -> np.ndarray:
    count = quotient.size
    length = -(-count // len(_DIGITS))
    packed = zlib.decompressobj().decompress(base64.b64decode(about["differences"], validate=True), length + 1)
    if len(packed) != length:
        raise ValueError(f"{len(packed)} bytes of differences where {length} are expected")
    digits = np.frombuffer(packed, np.uint8)[:, None] // _DIGITS % 3
    difference = digits.reshape(-1)[:count].astype(np.int64).reshape(len(quotient), -1) - 1
    values = (_bits(quotient) + difference).astype(np.int32).view(np.float32).reshape(quotient.shape)
    for channel, text in about.get("channels", {}).items():
        if not 0 <= int(channel) < len(values):
            raise ValueError(f"channel {channel} of {len(values)}")
        values[int(channel)] = _decode(text, values[0].size).reshape(values[0].shape)
    return values


def _bits(values: np.ndarray) -> np.ndarray:
    """Return float32 values by their bits, int64 [channels, weights of one]."""
    return np.ascontiguousarray(values, np.float32).view(np.int32).astype(np.int64).reshape(len(values), -1)


def _encode(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _decode(text: str, count: int) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers where {count} are expected")
    return values.astype(np.float32)
