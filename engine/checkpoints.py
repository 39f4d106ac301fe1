"""When a run keeps snapshots: ``ckpt`` of InsightFace's train.py."""

from __future__ import annotations

from collections.abc import Sequence


class HighestAccuracy:
    """The rule by which train.py calls a verification the best so far.

    The last set's accuracy decides. Where it is as good as the best, the sum over all sets does, which is compared with
    the sum at the last such tie (0 before the first).

    Attributes:
        accuracy: the last set's best.
        tied_sum: the sum at the last tie that was won.
    """

    def __init__(self) -> None:
        self.accuracy = 0.0
        self.tied_sum = 0.0

    def judge(self, accuracies: Sequence[float]) -> bool:
        """Take in a verification, one accuracy for each set, and tell whether it is the best so far."""
        last, total = accuracies[-1], sum(accuracies)
        if last < self.accuracy:
            return False
        is_highest = last > self.accuracy
        if not is_highest and total >= self.tied_sum:
            is_highest, self.tied_sum = True, total
        self.accuracy = last
        return is_highest
