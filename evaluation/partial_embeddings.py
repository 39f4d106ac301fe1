"""Embeddings on their way to a file: pieces on disk, so that a killed command loses one piece of work at most."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, require
from common.files import atomic_file, make_directory
from common.json_text import parse_json
from common.numpy_files import NUMPY_ERRORS, describe_error
from evaluation.embedding_store import different_work

_ABOUT = "about.json"
_NAME = re.compile(r"(\d+)-(\d+)\.npz")


@dataclass(frozen=True, eq=False)
class Piece:
    """The result of consecutive images of the input.

    Attributes:
        start: place in the input of the first image.
        stop: place behind the last one.
        positions: int64 [n], places of the images that were embedded.
        rows: [n, E].
        norms: float32 [n].
        rejected: (place, reason, details) of the images that were not.
    """

    start: int
    stop: int
    positions: np.ndarray
    rows: np.ndarray
    norms: np.ndarray
    rejected: Sequence[tuple[int, str, str]] = ()


class PartialEmbeddings:
    """The pieces so far, in the folder ``FILE.npz.partial`` beside the file to be written."""

    def __init__(self, target: Path, about: Mapping[str, Any]) -> None:
        """Begin, or take up what an earlier command with the same description left.

        Raises:
            UserError: an earlier command with another model, other images or other flags left pieces, or the folder
                cannot be written.
        """
        self.folder = target.with_name(f"{target.name}.partial")
        make_directory(self.folder, "--output")
        earlier = self._read_about()
        if earlier is None:
            with atomic_file(self.folder / _ABOUT, "w") as handle:
                json.dump(about, handle)
        elif different := different_work(earlier, about):
            raise UserError(
                f"{self.folder} holds unfinished work with another {', '.join(different)}; remove it, or choose "
                "another --output"
            )
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        self._ranges = sorted((int(match[1]), int(match[2])) for match in found if match)

    def missing(self, count: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield start and stop of the pieces, of at most ``size`` images, that ``count`` images still need."""
        start = 0
        for begin, end in [*self._ranges, (count, count)]:
            while start < begin:
                stop = min(start + size, begin)
                yield start, stop
                start = stop
            start = max(start, end)

    def add(self, piece: Piece) -> None:
        """Keep a piece."""
        # In memory first: after a failure on the way to a disk, NumPy's archive would print a traceback of its own.
        content = io.BytesIO()
        np.savez(
            content,
            rows=piece.rows,
            norms=piece.norms,
            positions=piece.positions,
            rejected=np.array(json.dumps(list(piece.rejected))),
        )
        with atomic_file(self._path(piece.start, piece.stop)) as handle:
            handle.write(content.getbuffer())
        self._ranges = sorted([*self._ranges, (piece.start, piece.stop)])

    def read(self) -> Iterator[Piece]:
        """Yield the pieces in order.

        Raises:
            UserError: a piece is damaged.
        """
        for start, stop in self._ranges:
            path = self._path(start, stop)
            try:
                with np.load(path, allow_pickle=False) as file:
                    rejected = [tuple(entry) for entry in parse_json(str(file["rejected"]))]
                    arrays = {name: file[name] for name in ("positions", "rows", "norms")}
                yield Piece(start=start, stop=stop, rejected=rejected, **arrays)
            except NUMPY_ERRORS as error:
                raise UserError(f"{path} is damaged ({describe_error(error)}); remove it and embed again") from error

    def drop_rejected(self) -> None:
        """Remove the pieces with images that could not be used, so that they are tried again."""
        for piece in [piece for piece in self.read() if piece.rejected]:
            self._path(piece.start, piece.stop).unlink()
            self._ranges.remove((piece.start, piece.stop))

    def remove(self) -> None:
        """Remove all pieces, once the file is written."""
        shutil.rmtree(self.folder)

    def _path(self, start: int, stop: int) -> Path:
        return self.folder / f"{start:012d}-{stop:012d}.npz"

    def _read_about(self) -> dict[str, Any] | None:
        path = self.folder / _ABOUT
        try:
            about = parse_json(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}); remove {self.folder}") from error
        require(isinstance(about, dict), f"{path} is damaged; remove {self.folder}")
        return about
