"""The state of reading an ONNX graph: constants, the description built so far, and values that wait for more nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from common.errors import UserError
from interchange.graph_builder import ForeignBuilder

QUERY, KEY, VALUE = range(3)


@dataclass(frozen=True)
class Operation:
    """One node of a file: names of its inputs and outputs, and its attributes."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    attrs: dict[str, Any]

    @property
    def output(self) -> str:
        """The first output, for most operators the only one."""
        return self.outputs[0]

    def optional(self, index: int) -> str | None:
        """Return an optional input; None if the node omits it."""
        return self.inputs[index] if len(self.inputs) > index and self.inputs[index] else None


@dataclass(frozen=True)
class Piece:
    """An intermediate value on the way to an attention or to tokens.

    Attributes:
        kind: what it is, such as "part", "by head", "products" or "weights".
        source: the value of the file that it is computed from.
        part: ``QUERY``, ``KEY`` or ``VALUE``; -1 where the parts have been joined.
        heads: number of attention heads, once it is known.
        factor: what the products have been multiplied by, or the eps of a normalisation.
        array: the gamma of a normalisation.
    """

    kind: str
    source: str
    part: int = -1
    heads: int = 0
    factor: float = 1.0
    array: str = ""


def shorten(value: float) -> float:
    """Return the short decimal that was rounded to float32: 2e-5, not 1.9999999494757503e-05."""
    return float(str(np.float32(value)))


class GraphReader:
    """Keeps constants apart from values that depend on the image, and builds the description of the latter.

    Attributes:
        source: the file, for messages.
        constants: arrays by the file's names.
        build: makes the description.
        pieces: intermediate values of operators that the file spreads over several nodes, by the file's names.
        channels_last: values of the file whose axes are [N, S, S, 3]; the description has them as [3, S, S].
    """

    def __init__(self, source: str, initializers: Iterable[onnx.TensorProto]) -> None:
        self.source = source
        self.constants = {tensor.name: self.to_array(tensor) for tensor in initializers}
        self.build = ForeignBuilder(source, self.constants)
        self.pieces: dict[str, Piece] = {}
        self.channels_last: set[str] = set()
        self._room = 2 * sum(array.size for array in self.constants.values()) + (1 << 20)

    def error(self, what: str) -> UserError:
        """Return the error that names the file and says ``what`` is wrong."""
        return UserError(f"{self.source}: {what}")

    def take_room(self, numbers: int) -> None:
        """Count the numbers of a constant that the file computes.

        Raises:
            ValueError: together they are far more than the file holds, which no network needs.
        """
        self._room -= numbers
        if self._room < 0:
            raise ValueError("it multiplies the size of the file's constants")

    def to_array(self, tensor: onnx.TensorProto) -> np.ndarray:
        """Return a stored tensor.

        Raises:
            UserError: its shape or its bytes are damaged.
        """
        if any(length < 0 for length in tensor.dims):
            raise self.error(f"the array '{tensor.name}' is damaged (its shape is {list(tensor.dims)})")
        try:
            return numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise self.error(f"the array '{tensor.name}' is damaged ({error})") from error

    def image_and_constant(self, inputs: Sequence[str]) -> tuple[str, str | None]:
        """Return the input that depends on the image and the constant one; None if both depend on the image."""
        a, b = inputs
        if b in self.constants:
            return a, b
        return (b, a) if a in self.constants else (a, None)

    def scalar(self, name: str, where: str) -> float:
        """Return the one number that all elements of a constant hold.

        Raises:
            UserError: the elements differ, or there are none.
        """
        values = self.constants[name].astype(np.float64).reshape(-1)
        if not np.all(np.isfinite(values)):
            raise self.error(f"{where}: '{name}' is not a finite number")
        if not values.size or np.any(values != values[0]):
            raise self.error(f"{where}: expected one number, found an array of shape {self.constants[name].shape}")
        return shorten(values[0])
