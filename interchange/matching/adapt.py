"""Converts the arrays of a foreign network into those of ours, where both compute the same in different forms.

Equal values are copied; others are recomputed in float64 so that the results stay the same: a folded BatchNorm becomes
one that only adds the bias, another eps moves into the variance, another scale of the preprocessing into the first
convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backbones.graph.network_graph import NetworkGraph, Node
from common.errors import UserError
from interchange.matching.canonical_layers import LINEAR, CanonicalLayer

Arrays = Mapping[str, np.ndarray]
NORM_ROLES = ("gamma", "beta", "moving_mean", "moving_var")


@dataclass(frozen=True)
class Adaptation:
    """The arrays by our names, float32, and notes on what had to be recomputed."""

    arrays: dict[str, np.ndarray]
    notes: list[str]


def adapt(
    network: NetworkGraph,
    pairs: Sequence[tuple[CanonicalLayer, CanonicalLayer]],
    foreign: NetworkGraph,
    given: Arrays,
    training: Arrays | None = None,
) -> Adaptation:
    """Return arrays with which ``network`` computes what the foreign network does with ``given``.

    Args:
        network: our network.
        pairs: its layers with the foreign ones, from ``pair_layers``.
        foreign: the foreign network.
        given: the arrays of ``foreign``.
        training: arrays that only training uses, by our names, in any shape. Missing ones become zeros.

    Raises:
        UserError: one of ``training`` has the wrong size; or the networks cannot compute the same, because their
            preprocessing subtracts different means.
    """
    adapter = _Adapter(network, foreign, given)
    for mine, theirs in pairs:
        adapter.translate(mine, theirs)
    adapter.complete(training or {})
    arrays = {name: adapter.arrays[name].astype(np.float32) for name in network.parameters()}
    return Adaptation(arrays, adapter.list_notes())


class _Adapter:
    def __init__(self, network: NetworkGraph, foreign: NetworkGraph, given: Arrays) -> None:
        self.network = network
        self._foreign = foreign
        self._given = given
        self.arrays: dict[str, np.ndarray] = {}
        self._counts: dict[str, int] = {}
        self._factors: dict[str, float] = {}  # node -> factor by which our values are smaller than the foreign ones

    def list_notes(self) -> list[str]:
        return [f"{what} ({count}x)" if count > 1 else what for what, count in self._counts.items()]

    def _note(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1

    def translate(self, mine: CanonicalLayer, theirs: CanonicalLayer) -> None:
        op = mine.node.op
        if op == "scale_shift":
            self._scale_shift(mine.node, theirs.node)
        elif op in LINEAR:
            self._linear(mine, theirs)
        elif op == "batch_norm":
            self._norm(mine.node, self._read_norm(theirs.node), theirs.node.attrs["eps"])
        else:
            self._write(mine.node, **self._read(theirs.node))
        if op not in LINEAR:
            scaled = [layer.node.name for layer in mine.inputs if layer.node.name in self._factors]
            if scaled:
                raise UserError(f"another scale of the preprocessing would have to pass {mine.node.name}, a {op}")

    def complete(self, training: Arrays) -> None:
        """Add the arrays of nodes that only training executes."""
        for name, spec in self.network.parameters().items():
            if name in self.arrays:
                continue
            if name not in training:
                self._note(f"{name}, which only training uses, is not in the file and starts at 0")
            values = training.get(name, np.zeros(spec.shape))
            if values.size != np.prod(spec.shape):
                raise UserError(f"{name} has {values.size} numbers, the network expects the shape {spec.shape}")
            self.arrays[name] = values.reshape(spec.shape)

    def _read(self, theirs: Node) -> dict[str, np.ndarray]:
        return {role: self._given[name] for role, name in theirs.arrays.items()}

    def _write(self, mine: Node, **values: np.ndarray) -> None:
        for role, name in mine.arrays.items():
            self.arrays[name] = np.broadcast_to(values[role], self.network.parameters()[name].shape)

    def _scale_shift(self, mine: Node, theirs: Node) -> None:
        if not _equal_float32(mine.attrs["mean"], theirs.attrs["mean"]):
            raise UserError(
                f"its preprocessing subtracts {theirs.attrs['mean']:g}, the network's {mine.attrs['mean']:g}; add "
                f"--input_mean {theirs.attrs['mean']:g} --input_scale {theirs.attrs['scale']:.9g}"
            )
        if not _equal_float32(mine.attrs["scale"], theirs.attrs["scale"]):
            self._factors[mine.name] = theirs.attrs["scale"] / mine.attrs["scale"]
            self._note(f"the preprocessing's scale {theirs.attrs['scale']:.7g} went into the first layer's weights")

    def _linear(self, mine: CanonicalLayer, theirs: CanonicalLayer) -> None:
        weight, bias = self._read(theirs.node)["weight"], self._read(theirs.node).get("bias")
        for layer in mine.inputs:
            if layer.node.name in self._factors:
                weight = weight.astype(np.float64) * self._factors[layer.node.name]
        has_bias = "bias" in mine.node.arrays
        if mine.norm is not None:
            weight, bias = self._linear_before_norm(mine, theirs, weight, bias, has_bias)
        elif theirs.norm is not None:
            weight, bias = fold_norm(weight, bias, self._read_norm(theirs.norm), theirs.norm.attrs["eps"])
            self._note("a BatchNorm was folded into its layer")
        if bias is not None and not has_bias and np.any(bias):
            raise UserError(f"{theirs.node.name} has a bias, which {mine.node.name} of the network does not have")
        self._write(mine.node, weight=weight, bias=np.zeros(len(weight), np.float32) if bias is None else bias)

    def _linear_before_norm(
        self, mine: CanonicalLayer, theirs: CanonicalLayer, weight: np.ndarray, bias: np.ndarray | None, has_bias: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Fill our BatchNorm after a linear layer; return the layer's weight and bias."""
        if theirs.norm is None:
            ones, zeros = np.ones(len(weight)), np.zeros(len(weight))
            shift = zeros if bias is None else bias
            self._norm(mine.norm, (ones, shift, zeros, ones), 0.0)
            self._note("a BatchNorm that the file has folded into its layer adds the bias and does nothing else")
            return weight, None
        gamma, beta, mean, variance = self._read_norm(theirs.norm)
        if mine.norm.attrs["fix_gamma"] and np.any(gamma != 1):
            shape = (-1,) + (1,) * (weight.ndim - 1)
            scale = gamma.astype(np.float64)
            weight, mean = weight * scale.reshape(shape), mean * scale
            bias = None if bias is None else bias * scale
            gamma = np.ones_like(gamma)
            self._note("the gamma of a BatchNorm whose gamma is fixed went into its layer's weights")
        if bias is not None and not has_bias:
            mean = mean.astype(np.float64) - bias if np.any(bias) else mean
            bias = None
        self._norm(mine.norm, (gamma, beta, mean, variance), theirs.norm.attrs["eps"])
        return weight, bias

    def _read_norm(self, norm: Node) -> tuple[np.ndarray, ...]:
        values = self._read(norm)
        return tuple(values[role] for role in NORM_ROLES)

    def _norm(self, mine: Node, values: tuple[np.ndarray, ...], eps: float) -> None:
        gamma, beta, mean, variance = values
        if mine.attrs["fix_gamma"] and np.any(gamma != 1):
            if np.any(gamma <= 0):
                raise UserError(f"{mine.name} has a fixed gamma of 1, and the file's is not positive everywhere")
            variance = (variance.astype(np.float64) + eps) / gamma.astype(np.float64) ** 2
            eps, gamma = 0.0, np.ones_like(gamma)
        if not _equal_float32(eps, mine.attrs["eps"]):
            variance = variance.astype(np.float64) + (eps - mine.attrs["eps"])
            if eps:
                self._note(f"eps {eps:g} of a BatchNorm went into its variance (ours is {mine.attrs['eps']:g})")
        self._write(mine, **dict(zip(NORM_ROLES, (gamma, beta, mean, variance), strict=True)))


def _equal_float32(a: float, b: float) -> bool:
    """Tell whether two constants are equal in a file that stores them as float32."""
    return np.float32(a) == np.float32(b)


def fold_norm(
    weight: np.ndarray, bias: np.ndarray | None, norm: tuple[np.ndarray, ...], eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias, float64, of the layer that equals a linear layer and its BatchNorm in inference."""
    gamma, beta, mean, variance = (array.astype(np.float64) for array in norm)
    scale = gamma / np.sqrt(variance + eps)
    shift = -mean if bias is None else bias - mean
    return weight * scale.reshape((-1,) + (1,) * (weight.ndim - 1)), shift * scale + beta
