"""Builds a description and its arrays from the nodes of another program's file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from backbones.graph.nodes import DEFAULT_RULE
from backbones.graph.transformer import TransformerGraph
from common.errors import UserError


def find_mean(offset: float, scale: float) -> float:
    """Return the shortest decimal ``mean`` with which ``x * scale - offset`` is ``(x - mean) * scale`` in float32."""
    factor, wanted = float(np.float32(scale)), np.float32(offset)
    for digits in range(1, 10):
        mean = float(f"{offset / factor:.{digits}g}")
        if np.float32(mean * factor) == wanted:
            return mean
    return offset / factor


class ForeignBuilder:
    """Translates the values of a file into nodes of a ``NetworkGraph`` of the same names.

    Methods take values and arrays by the file's names; ``source`` is the file, for messages. ``gammas`` are the
    names of the BatchNorms' gammas in the file, by ours.
    """

    def __init__(self, source: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.source = source
        self.graph = TransformerGraph({"position": DEFAULT_RULE})
        self.gammas: dict[str, str] = {}
        self._given = arrays
        self._arrays: dict[str, np.ndarray] = {}
        self._values: dict[str, str] = {}  # the file's names -> ours; some nodes of a file become none of ours
        self._taken: set[str] = set()
        self._norms: dict[str, tuple[str, str]] = {}  # unfinished equalize_pixel_norms: step, value it starts from
        self._affine: dict[str, tuple[str, float, float]] = {}  # (value - mean) * scale that waits for its first reader

    def error(self, what: str) -> UserError:
        """Return the error that names the file and says ``what`` is wrong."""
        return UserError(f"{self.source}: {what}")

    def named(self, error: UserError) -> UserError:
        """Return an error that names the file: ``error`` itself, if it does."""
        return error if str(error).startswith(self.source) else self.error(str(error))

    def array(self, name: str) -> np.ndarray:
        """Return an array of the file as float32.

        Raises:
            UserError: the file has no array of this name, or it does not hold real numbers.
        """
        if name not in self._given:
            raise self.error(f"the array '{name}' is missing")
        values = np.asarray(self._given[name])
        if values.dtype.kind not in "fiu":
            raise self.error(f"the array '{name}' holds {values.dtype}, not numbers")
        return values.astype(np.float32)

    def single_value(self, name: str, what: str, values: Iterable[int]) -> int:
        """Return the one number that all ``values`` equal.

        Raises:
            UserError: the values differ, as in a kernel that is not square.
        """
        values = list(values)
        if len(set(values)) != 1 or not isinstance(values[0], int):
            raise self.error(f"{name} has {what} {tuple(values)}; the known networks have the same number on all sides")
        return values[0]

    def _name(self, name: str) -> str:
        """Return ``name`` as a valid attribute name, made unique: letters, digits and underscores."""
        plain = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_") or "value"
        while plain in self._taken:
            plain += "_"
        self._taken.add(plain)
        return plain

    def _value(self, name: str) -> str:
        if name in self._affine:
            x, mean, scale = self._affine.pop(name)
            self._values[name] = self.graph.scale_shift(x, self._name(name), mean, scale)
        if name not in self._values:
            raise self.error(f"'{name}' is taken as the value of a layer, which it is not in any known network")
        return self._values[name]

    def _keep(self, name: str, made: str, **arrays: np.ndarray) -> None:
        """Record that ``made`` is the file's ``name``, and its arrays by role.

        Raises:
            UserError: an array has another shape than the node expects.
        """
        self._values[name] = made
        targets = self.graph.nodes[-1].arrays
        for role, values in arrays.items():
            shape = self.graph.parameters()[targets[role]].shape
            if values.shape != shape:
                raise self.error(f"{name}: its {role} has shape {values.shape}, its input requires {shape}")
            self._arrays[targets[role]] = values

    def input(self, name: str, image_size: int) -> None:
        """Add the image."""
        self._values[name] = self.graph.input(self._name(name), (3, image_size, image_size))

    def alias(self, x: str, name: str) -> None:
        """Make ``name`` another name of the value ``x``."""
        self._values[name] = self._value(x)

    def subtract(self, x: str, name: str, number: float) -> None:
        """Add ``x - number``, in one node with subtractions and multiplications before and after it."""
        source, mean, scale = self._pop_affine(x)
        if not scale:
            raise self.error(f"{name} subtracts from a value times 0, which no known network does")
        self._affine[name] = (source, mean + find_mean(number, scale), scale)

    def multiply(self, x: str, name: str, number: float) -> None:
        """Add ``x * number``, in one node with subtractions and multiplications before and after it."""
        source, mean, scale = self._pop_affine(x)
        self._affine[name] = (source, mean, scale * number)

    def _pop_affine(self, x: str) -> tuple[str, float, float]:
        return self._affine.pop(x) if x in self._affine else (self._value(x), 0.0, 1.0)

    def conv(self, x: str, name: str, weight: str, bias: str | None, stride: int, pad: int, groups: int) -> None:
        """Add a convolution whose filters and kernel are those of the array ``weight``."""
        values = self.array(weight)
        if values.ndim != 4 or values.shape[2] != values.shape[3]:
            raise self.error(f"{name}: its weight has shape {values.shape}; known are square 2-d convolutions")
        arrays = {"weight": values} | ({} if bias is None else {"bias": self.array(bias)})
        try:
            made = self.graph.conv(
                self._value(x),
                self._name(name),
                values.shape[0],
                values.shape[2],
                stride,
                pad,
                groups,
                bias=bias is not None,
            )
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise self.error(f"{name}: its weight {values.shape} does not fit its input ({error})") from error
        self._keep(name, made, **arrays)

    def batch_norm(
        self, x: str, name: str, arrays: Sequence[str], eps: float, momentum: float = 0.9, fix_gamma: bool = False
    ) -> None:
        """Add a normalisation; ``arrays`` names gamma, beta, moving mean and variance."""
        gamma, beta, mean, variance = (self.array(array) for array in arrays)
        if fix_gamma:
            gamma = np.ones_like(gamma)
        made = self.graph.batch_norm(self._value(x), self._name(name), eps, momentum, fix_gamma)
        self.gammas[self.graph.nodes[-1].arrays["gamma"]] = arrays[0]
        self._keep(name, made, gamma=gamma, beta=beta, moving_mean=mean, moving_var=variance)

    def layer_norm(self, x: str, name: str, gamma: str, beta: str, eps: float) -> None:
        """Add a normalisation of each token by the arrays ``gamma`` and ``beta``."""
        made = self.graph.layer_norm(self._value(x), self._name(name), eps)
        self._keep(name, made, gamma=self.array(gamma), beta=self.array(beta))

    def tokens(self, x: str, name: str) -> None:
        """Add the view of a map as tokens."""
        self._values[name] = self.graph.tokens(self._value(x), self._name(name))

    def position(self, x: str, name: str, weight: str) -> None:
        """Add a learned vector per token to tokens; the array may have a batch axis of length 1."""
        values = self.array(weight)
        made = self.graph.position(self._value(x), self._name(name))
        self._keep(name, made, weight=values[0] if values.ndim == 3 and len(values) == 1 else values)

    def attention(self, x: str, name: str, heads: int) -> None:
        """Add the attention of tokens that are query, key and value in one."""
        self._values[name] = self.graph.attention(self._value(x), self._name(name), heads)

    def prelu(self, x: str, name: str, slope: str) -> None:
        """Add a PReLU; its slopes may have axes of length 1, and one slope may serve all channels."""
        slopes = self.array(slope).reshape(-1)
        made = self.graph.prelu(self._value(x), self._name(name), shared=slopes.size == 1)
        self._keep(name, made, slope=slopes)

    def activation(self, x: str, name: str, kind: str) -> None:
        """Add a function without parameters."""
        self._values[name] = self.graph.activation(self._value(x), self._name(name), kind)

    def add(self, a: str, b: str, name: str) -> None:
        """Add the sum of two values of one shape."""
        first, second = self._value(a), self._value(b)
        if self.graph.shapes[first] != self.graph.shapes[second]:
            raise self.error(f"{name} adds values of shapes {self.graph.shapes[first]} and {self.graph.shapes[second]}")
        self._values[name] = self.graph.add(first, second, self._name(name))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value, without the batch."""
        return self.graph.shapes[self._value(name)]

    def product(self, a: str, b: str, name: str) -> None:
        """Add a map times one factor per channel, in any order, or the last step of ``equalize_pixel_norms``."""
        for x, factors in ((a, b), (b, a)):
            if self._norms.get(factors) == ("ratio", self._values.get(x)):
                self._values[name] = self.graph.equalize_pixel_norms(self._value(x), self._name(name))
                return
        if a == b:
            self.norm_step(name, "squares", a)
            return
        first, second = self._value(a), self._value(b)
        if self.graph.shapes[first][1:] == (1, 1) and self.graph.shapes[second][1:] != (1, 1):
            first, second = second, first
        if self.graph.shapes[second] != (self.graph.shapes[first][0], 1, 1):
            raise self.error(f"{name} multiplies values of shapes {self.shape(a)} and {self.shape(b)}")
        self._values[name] = self.graph.scale_channels(first, second, self._name(name))

    def norm_step(self, name: str, what: str, *inputs: str) -> None:
        """Record a step of ``equalize_pixel_norms``: squares, their sums, norms, the mean norm, its ratio to each norm.

        Raises:
            UserError: the inputs are not the steps before it.
        """
        before = {"squares": None, "sums": "squares", "norms": "sums", "mean": "norms", "ratio": "mean"}[what]
        kind, x = (None, self._value(inputs[0])) if before is None else self._norms.get(inputs[0], ("", ""))
        if kind != before or (what == "ratio" and self._norms.get(inputs[1]) != ("norms", x)):
            raise self.error(f"{name} computes {what} of a value for which no known network does")
        self._norms[name] = (what, x)

    def start_norms(self, x: str, name: str, what: str) -> None:
        """Record the "norms" of each pixel of ``x``, or the "sums" of its squares, computed by one node."""
        self._norms[name] = (what, self._value(x))

    def concat(self, values: Sequence[str], name: str) -> None:
        """Add the concatenation of maps along their channels."""
        made = [self._value(value) for value in values]
        if len({self.graph.shapes[value][1:] for value in made}) != 1:
            raise self.error(f"{name} concatenates maps of different sizes")
        self._values[name] = self.graph.concat(made, self._name(name))

    def pool(self, x: str, name: str, kind: str, kernel: int, stride: int, pad: int) -> None:
        """Add a pooling; one whose window is the whole map is the average of all pixels."""
        value = self._value(x)
        whole = self.graph.shapes[value][1:] == (kernel, kernel) and kind == "avg" and pad == 0
        made = self._name(name)
        if whole:
            self._values[name] = self.graph.global_pool(value, made)
        else:
            self._values[name] = self.graph.pool(value, made, kind, kernel, stride, pad)

    def global_pool(self, x: str, name: str) -> None:
        """Add the average over all pixels."""
        self._values[name] = self.graph.global_pool(self._value(x), self._name(name))

    def dropout(self, x: str, name: str, p: float) -> None:
        """Add a dropout."""
        self._values[name] = self.graph.dropout(self._value(x), self._name(name), p)

    def flatten(self, x: str, name: str) -> str:
        """Add the flattening of ``x``, unless it is flat already; return ``name``."""
        value = self._value(x)
        flat = len(self.graph.shapes[value]) == 1
        self._values[name] = value if flat else self.graph.flatten(value, self._name(name))
        return name

    def fully_connected(self, x: str, name: str, weight: str, bias: str | None, transposed: bool = False) -> None:
        """Add a fully connected layer of the array ``weight`` [units, features], or its transpose."""
        values = self.array(weight)
        if values.ndim != 2:
            raise self.error(f"{name}: its weight has shape {values.shape}, expected two axes")
        values = values.T.copy() if transposed else values
        shift = np.zeros(len(values), np.float32) if bias is None else self.array(bias)
        made = self.graph.fully_connected(self._value(x), self._name(name), len(values))
        self._keep(name, made, weight=values, bias=shift)

    def shift(self, x: str, name: str, bias: str) -> bool:
        """Add ``bias`` to the fully connected layer ``x``; return False if ``x`` is not one or has a bias."""
        if x in self._affine:
            return False
        value, values = self._value(x), self.array(bias).reshape(-1)
        target = f"{value}_bias"
        if self.graph.nodes[-1].op != "fully_connected" or self.graph.output != value:
            return False
        if values.shape != self._arrays[target].shape or np.any(self._arrays[target]):
            return False
        self._arrays[target] = values
        self._values[name] = value
        return True

    def finish(self) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
        """Return the description and its arrays.

        Raises:
            UserError: the last node is not an embedding, one vector per image.
        """
        for name in list(self._affine):
            self._value(name)
        if not self.graph.nodes or len(self.graph.shapes[self.graph.output]) != 1 or not self.graph.embedding_size:
            raise self.error("its output is not an embedding: one vector per image")
        return self.graph, self._arrays
