"""Groups of people while training, as ``insightface_val.py --groups`` compares them on the verification sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from common.errors import UserError
from engine.group_report import GroupMap
from engine.protocols.base import Outcome, said_of
from evaluation.groups.group_table import outcome_lines, outcome_numbers
from evaluation.verification import VerificationResult
from settings.protocols import NamedProtocol


class GroupProtocol:
    """Groups of the pairs that are verified.

    Attributes:
        named: what the command line calls it.
    """

    def __init__(self, named: NamedProtocol, sets: Mapping[str, int]) -> None:
        """Read the files.

        Args:
            named: the protocol.
            sets: the number of pairs of each verification set, by its name.

        Raises:
            UserError: a file cannot be read, or images have no group.
        """
        self.named = named
        try:
            self._map = GroupMap(named.place, named.pairs, sets)
            if len(self._map.names) < 2:
                raise UserError(f"only the group {', '.join(self._map.names)} has images; expected at least two")
        except UserError as error:
            raise said_of(named, error) from error

    def evaluate(
        self,
        results: Sequence[VerificationResult],
        labels: Sequence[np.ndarray],
        rows: Mapping[str, np.ndarray],
        far_targets: Sequence[float],
    ) -> Outcome:
        """Return the numbers of each group and the spread, from a verification; see ``GroupMap.compare``."""
        report = self._map.compare(results, labels, rows, far_targets)
        return Outcome(self.named.name, tuple(outcome_lines(report)), outcome_numbers(report))
