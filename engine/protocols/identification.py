"""Identification while training, as ``tools/evaluate/identify.py`` does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from engine.protocols.base import Faces, Outcome, list_of, said_of
from evaluation.identification.people import check_same_people, people_of, split_set
from evaluation.identification.protocol import FPIR_TARGETS, identify
from evaluation.identification.report import RANKS, result_lines
from evaluation.search.kernel import ScoreKernel
from settings.protocols import NamedProtocol

PER_PERSON, SEED = 1, 0  # the command's defaults


class IdentifyProtocol:
    """A gallery and probes: the folders of these names, or one set of which each person's first image is drawn."""

    def __init__(self, named: NamedProtocol) -> None:
        """List the images.

        Raises:
            UserError: a folder cannot be read, or one of both is missing.
        """
        self.named = named
        place = Path(named.place)
        both = [place / "gallery", place / "probes"]
        there = [source for source in both if source.is_dir()]
        if len(there) == 1:
            (missing,) = set(both) - set(there)
            raise UserError(
                f"--val_protocols {named}: {there[0]} is there and {missing} is not; expected both, or neither and a "
                "folder per person"
            )
        self._sources = there or [place]
        self.lists = [list_of(named, source) for source in self._sources]

    def check(self, faces: Sequence[Faces]) -> None:
        """Check that there is a probe of a person in the gallery.

        Raises:
            UserError: there is not, or images lie in no person's folder.
        """
        self._divide(faces)

    def evaluate(self, faces: Sequence[Faces], kernel: ScoreKernel) -> Outcome:
        """Return rank k and open-set rates."""
        (gallery, owners), (probes, people) = self._divide(faces)
        result = identify(kernel, gallery, owners, probes, people)
        numbers = {f"rank_{k}": result.rank(k) for k in RANKS if k == 1 or k < result.people}
        for target in FPIR_TARGETS:
            rate = result.open_set(target)
            numbers |= {f"tpir_at_fpir_{target:g}": rate.tpir, f"cosine_at_fpir_{target:g}": rate.threshold}
        return Outcome(self.named.name, tuple(result_lines(result)), numbers)

    def _divide(self, faces: Sequence[Faces]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Return embeddings and people of the gallery, and of the probes."""
        try:
            people = [
                people_of(each.names, each.labels, source) for each, source in zip(faces, self._sources, strict=True)
            ]
            if len(faces) == 2:
                check_same_people(*people, *self._sources)
                return tuple((each.rows, owners) for each, owners in zip(faces, people, strict=True))
            parts = split_set(people[0], PER_PERSON, SEED, self._sources[0])
        except UserError as error:
            raise said_of(self.named, error) from error
        rows = faces[0].rows
        return tuple((rows[numbers] if len(rows) else rows, people[0][numbers]) for numbers in parts)
