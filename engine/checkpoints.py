"""When a run keeps snapshots: ``ckpt`` of InsightFace's train.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import require

NONE, BETTER, ALWAYS, BEST = range(4)  # the values of ckpt


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


def settle_checkpoints(config: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Make the other settings of snapshots fit ``ckpt``; return what there is to say about it, a line each.

    ``iter_num_in_snapshot`` and ``save_last_snapshot`` are for ckpt 2. ``given`` are the keys that were given as flags.

    Raises:
        UserError: ckpt is unknown, or was given together with what contradicts it.
    """
    ckpt = config["ckpt"]
    known = "0 (no snapshots), 1 (when better), 2 (all), 3 (the best)"
    require(ckpt in (NONE, BETTER, ALWAYS, BEST), f"--ckpt {ckpt} is unknown; known: {known}")
    if ckpt == ALWAYS:
        return []
    every = given.get("iter_num_in_snapshot")
    require(not every, f"--ckpt {ckpt} and --iter_num_in_snapshot {every} contradict each other; --ckpt 2 keeps all")
    config["iter_num_in_snapshot"] = 0
    config["save_last_snapshot"] = given.get("save_last_snapshot", False)
    require(
        not (ckpt == NONE and config["save_last_snapshot"]),
        "--ckpt 0 and --save_last_snapshot 1 contradict each other; give one",
    )
    verifies = config["do_validation_while_train"] and config["val_targets"] and not config["use_synthetic_data"]
    if ckpt == NONE or verifies:
        return []
    return [f"--ckpt {ckpt} keeps snapshots of verifications, and there are none in this run; --ckpt 2 keeps all"]
