"""The switches of the protocol: what of an image's embedding counts in its template."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from common.errors import UserError

ALONE, SIDE_BY_SIDE, SUM = 0, 1, 2
"""An image's feature: f(image); [f(image), f(mirrored image)]; f(image) + f(mirrored image)."""


@dataclass(frozen=True)
class Mode:
    """The switches, in the names of InsightFace's ``ijb_11.py``: N1D1F2.

    Attributes:
        keep_norm: N1: features as the network gives them; N0: of length 1.
        detector: D1: times the detector score; D0: not.
        flip: F2, F1 or F0: ``SUM``, ``SIDE_BY_SIDE``, ``ALONE``.
    """

    keep_norm: bool = True
    detector: bool = True
    flip: int = SUM

    def __str__(self) -> str:
        return f"N{self.keep_norm:d}D{self.detector:d}F{self.flip}"


ALL = tuple(
    Mode(keep_norm, detector, flip)
    for keep_norm, detector, flip in itertools.product((True, False), (True, False), (SUM, ALONE))
)
"""The eight combinations that ``ijb_evals.py --is_bunch`` tests."""


def parse_modes(text: str) -> tuple[Mode, ...]:
    """Return the modes of ``--modes``: names separated by commas, or ``all``.

    Raises:
        UserError: a name is not a mode, or occurs twice.
    """
    if text == "all":
        return ALL
    modes = []
    for word in text.split(","):
        match = re.fullmatch(r"N([01])D([01])F([012])", word.strip())
        if match is None:
            raise UserError(f"--modes {text}: '{word}' is not a mode; expected names such as N1D1F2, or all")
        norm, detector, flip = map(int, match.groups())
        modes.append(Mode(bool(norm), bool(detector), flip))
    if len(set(modes)) < len(modes):
        raise UserError(f"--modes {text}: a mode occurs twice")
    return tuple(modes)
