"""What a protocol needs of its images, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from common.errors import UserError
from data.image_lists.images import ImageList, list_images
from evaluation.search.kernel import ScoreKernel
from settings.protocols import NamedProtocol


@dataclass(frozen=True, eq=False)
class Faces:
    """Those images of a list that can be used.

    Attributes:
        names: of the N images.
        labels: int64 [N], the class of each, or None.
        rows: float32 [N, E], f(image) + f(mirrored image); empty before the network has seen them.
    """

    names: list[str]
    labels: np.ndarray | None
    rows: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """The result of a protocol.

    Attributes:
        name: what log and metrics call it.
        lines: for the log, without name and step.
        numbers: for metrics and TensorBoard, by name; NaN what could not be measured.
    """

    name: str
    lines: tuple[str, ...]
    numbers: dict[str, float]

    def log_lines(self, step: int) -> list[str]:
        """Return the lines in the form of the verification's: ``[identify][2000]Rank 1: 0.866667``."""
        return [f"[{self.name}][{step}]{line}" for line in self.lines]


class ImageProtocol(Protocol):
    """A protocol on images of its own.

    Attributes:
        named: what the command line calls it.
        lists: its images.
    """

    named: NamedProtocol
    lists: Sequence[ImageList]

    def check(self, faces: Sequence[Faces]) -> None:
        """Check that the images of ``lists`` that can be used suffice.

        Raises:
            UserError: they do not.
        """

    def evaluate(self, faces: Sequence[Faces], kernel: ScoreKernel) -> Outcome:
        """Return the result, the same on all ranks. ``kernel`` may be a collective one.

        Raises:
            UserError: embeddings are not finite.
        """


def list_of(named: NamedProtocol, source: str | Path, root: str | Path = "") -> ImageList:
    """List the images of a protocol.

    Raises:
        UserError: ``list_images`` fails; the message names the protocol.
    """
    try:
        return list_images(source, root)
    except UserError as error:
        raise said_of(named, error, "--input ") from error


def said_of(named: NamedProtocol, error: UserError, flag: str = "") -> UserError:
    """Return an error whose lines name the protocol in place of the flag of another command."""
    return UserError(*(f"--val_protocols {named}: {line.removeprefix(flag)}" for line in str(error).splitlines()))
