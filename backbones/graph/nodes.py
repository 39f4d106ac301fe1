"""The parts of a network description: operators, and the arrays that they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any

ACTIVATION_TYPES = ("relu", "sigmoid", "tanh", "softrelu", "softsign", "relu6")
POOL_TYPES = ("max", "avg")
AUXILIARY_KINDS = ("moving_mean", "moving_var")
# Operators and kinds of activations for which the CPU's network op (ops/native) has layers.
COMPILED_OPS = (
    "input",
    "scale_shift",
    "conv",
    "batch_norm",
    "prelu",
    "add",
    "dropout",
    "drop_path",
    "flatten",
    "fully_connected",
    "relu",
    "sigmoid",
    "tanh",
)
DEFAULT_RULE = "xavier_gaussian"  # for the initial values of weights


@dataclass(frozen=True)
class Node:
    """One operator: its kind, the name of its output, the names of its inputs, its constants, its arrays.

    ``arrays`` maps the role of each array (weight, bias, gamma, beta, slope, moving_mean, moving_var) to its name.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def layer(self) -> str:
        """The name of the operator in the CPU's network op: an activation has the name of its kind."""
        return self.attrs["kind"] if self.op == "activation" else self.op


@dataclass(frozen=True)
class ParameterSpec:
    """Shape and role of one stored array.

    ``kind`` is weight, bias, gamma, beta, prelu_gamma, moving_mean or moving_var. A gamma that is not ``trainable``
    belongs to a BatchNorm with fix_gamma: it is always 1, even if a file holds other values. ``rule`` names the
    distribution of a weight's initial values (``backbones.graph.initializer``).
    """

    shape: tuple[int, ...]
    kind: str
    trainable: bool = True
    rule: str = DEFAULT_RULE

    @property
    def auxiliary(self) -> bool:
        """Whether MXNet stores the array as auxiliary state (``aux:``) and not as an argument (``arg:``)."""
        return self.kind in AUXILIARY_KINDS

    @property
    def fixed(self) -> bool:
        """Whether the array is a gamma pinned to 1 by fix_gamma."""
        return self.kind == "gamma" and not self.trainable

    @property
    def fan_in(self) -> int:
        """The number of inputs of one output, as in MXNet's Xavier; for weights only."""
        return prod(self.shape[1:])

    @property
    def fan_out(self) -> int:
        """The number of outputs times the kernel area, as in MXNet's Xavier (groups do not count); for weights only."""
        return self.shape[0] * prod(self.shape[2:])
