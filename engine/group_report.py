"""Compare groups of people on the verified sets of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import UserError
from data.pairs.names import read_pair_names
from data.verification.verification_set import VerificationSet
from evaluation.groups.group_file import assign_groups, read_groups
from evaluation.groups.pair_groups import GroupPairs, GroupReport, compare_groups
from evaluation.verification import VerificationResult

SETS = "sets"  # the value of --groups that makes each set a group


def check_group_files(config: Mapping[str, Any]) -> None:
    """Check the files of ``groups`` and ``group_pairs`` before a rank is started.

    Raises:
        UserError: a file cannot be read or is damaged; the message has a line for each mistake.
    """
    problems: list[str] = []
    reads = (
        (read_groups, config["groups"] if config["groups"] != SETS else ""),
        (read_pair_names, config["group_pairs"]),
    )
    for read, path in reads:
        try:
            if path:
                read(path)
        except UserError as error:
            problems += str(error).splitlines()
    if problems:
        raise UserError(*problems)


class GroupMap:
    """The group of each image of the sets.

    Attributes:
        names: the groups.
        of_images: int64 [2N] for each set, the group of each side of each pair.
        are_sets: whether each set is a group.
    """

    def __init__(self, config: Mapping[str, Any], sets: Sequence[VerificationSet]) -> None:
        """Read ``groups`` and ``group_pairs`` of the settings.

        Raises:
            UserError: a file cannot be read, images have no group, or the list of pairs is of another set.
        """
        self.are_sets = config["groups"] == SETS
        if self.are_sets:
            self.names = [each.name for each in sets]
            self.of_images = [np.full(len(each.index), number) for number, each in enumerate(sets)]
            return
        path = config["groups"]
        groups = read_groups(path)
        counts = [len(each.index) for each in sets]
        if config["group_pairs"]:
            images = read_pair_names(config["group_pairs"])
            if len(images) != counts[0]:
                raise UserError(
                    f"--group_pairs {config['group_pairs']} has {len(images) // 2} pairs, and {sets[0].name} has "
                    f"{counts[0] // 2}; give the list that the set was made of"
                )
        elif len(sets) == 1:
            images = [str(number) for number in range(counts[0])]
        else:
            images = [
                f"{each.name}/{number}" for each, count in zip(sets, counts, strict=True) for number in range(count)
            ]
        self.names, assigned = assign_groups(images, groups, path)
        self.of_images = np.split(assigned, np.cumsum(counts)[:-1])

    def compare(
        self,
        results: Sequence[VerificationResult],
        sets: Sequence[VerificationSet],
        rows: Mapping[str, np.ndarray],
        far_targets: Sequence[float],
    ) -> GroupReport:
        """Compare the groups.

        Args:
            results: the results of the sets.
            sets: the sets.
            rows: embeddings [M, E] of the images of each set, if each set is a group: images of different sets are then
                compared.
            far_targets: the false accept rates of the common thresholds.
        """
        parts = [
            GroupPairs.of(result, each.issame, images[0::2], images[1::2])
            for result, each, images in zip(results, sets, self.of_images, strict=True)
        ]
        images = {number: rows[name] for number, name in enumerate(self.names)} if self.are_sets else None
        accuracy = [result.accuracy for result in results] if self.are_sets else None
        return compare_groups(self.names, GroupPairs.joined(parts), far_targets, results[0].mirrored, images, accuracy)
