"""List the images of a verification ``.bin``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import override

from data.listing.base import Found, Listing, Request
from data.verification.bin_file import read_bin


@dataclass(frozen=True)
class _BytesRequest(Request):
    images: list[bytes]

    @override
    def read(self) -> Iterator[Found]:
        yield from map(Found, self.images)


class BinListing(Listing):
    """The images of a ``.bin``, all of which are in memory."""

    kind = "bin"

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            UserError: it is not a verification set.
        """
        super().__init__(path)
        self.images, issame = read_bin(path)
        self.issame = np.array(issame, bool)

    @override
    def __len__(self) -> int:
        return len(self.images)

    @override
    def request(self, numbers: np.ndarray) -> Request:
        return _BytesRequest([self.images[number] for number in numbers.tolist()])

    @override
    def describe(self, number: int) -> str:
        return f"{self.path.name}: image {number} (pair {number // 2})"

    @override
    def caption(self, number: int) -> str:
        return f"image {number}"
