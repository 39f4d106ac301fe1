"""Compare groups of people on the verified sets of one model, from its images or from stored embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from data.pairs.names import read_pair_names
from evaluation.groups.group_file import assign_groups, read_groups
from evaluation.groups.group_table import describe_groups
from evaluation.groups.pair_groups import GroupPairs, GroupReport, compare_groups
from evaluation.verification import VerificationResult

SETS = "sets"  # the value of --groups that makes each set a group


def check_group_files(groups: str, group_pairs: str) -> None:
    """Check the files of ``--groups`` and ``--group_pairs`` before longer work.

    Raises:
        UserError: a file cannot be read or is damaged; the message has a line for each mistake.
    """
    problems: list[str] = []
    reads = ((read_groups, groups if groups != SETS else ""), (read_pair_names, group_pairs))
    for read, path in reads:
        try:
            if path:
                read(path)
        except UserError as error:
            problems += str(error).splitlines()
    if problems:
        raise UserError(*problems)


def write_groups(folder: Path, report: GroupReport) -> None:
    """Write ``groups.json``.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_file(folder / "groups.json", "w") as handle:
        json.dump(describe_groups(report), handle, indent=2, allow_nan=False)
        handle.write("\n")


class GroupMap:
    """The group of each image of the sets.

    Attributes:
        names: the groups.
        of_images: int64 [2N] for each set, the group of each side of each pair.
        are_sets: whether each set is a group.
    """

    def __init__(self, groups: str, group_pairs: str, sets: Mapping[str, int]) -> None:
        """Read the files.

        Args:
            groups: the file of groups, or ``SETS``.
            group_pairs: the list of pairs that names the images of one set, or empty.
            sets: the number of pairs of each set, by its name.

        Raises:
            UserError: a file cannot be read, images have no group, or the list of pairs is of another set.
        """
        self.are_sets = groups == SETS
        counts = [2 * pairs for pairs in sets.values()]
        if self.are_sets:
            self.names = list(sets)
            self.of_images = [np.full(count, number) for number, count in enumerate(counts)]
            return
        table = read_groups(groups)
        if group_pairs:
            images = read_pair_names(group_pairs)
            if len(images) != counts[0]:
                raise UserError(
                    f"--group_pairs {group_pairs} has {len(images) // 2} pairs, and {next(iter(sets))} has "
                    f"{counts[0] // 2}; give the list that the set was made of"
                )
        elif len(sets) == 1:
            images = [str(number) for number in range(counts[0])]
        else:
            images = [f"{name}/{number}" for name, count in zip(sets, counts, strict=True) for number in range(count)]
        self.names, assigned = assign_groups(images, table, groups)
        self.of_images = np.split(assigned, np.cumsum(counts)[:-1])

    def compare(
        self,
        results: Sequence[VerificationResult],
        labels: Sequence[np.ndarray],
        rows: Mapping[str, np.ndarray],
        far_targets: Sequence[float],
    ) -> GroupReport:
        """Compare the groups.

        Args:
            results: the results of the sets.
            labels: bool [N] of each set, whether the pairs show one person.
            rows: embeddings [M, E] of the distinct images of each set, if each set is a group: images of different
                sets are then compared.
            far_targets: the false accept rates of the common thresholds.
        """
        parts = [
            GroupPairs.of(result, issame, images[0::2], images[1::2])
            for result, issame, images in zip(results, labels, self.of_images, strict=True)
        ]
        images = {number: rows[name] for number, name in enumerate(self.names)} if self.are_sets else None
        accuracy = [result.accuracy for result in results] if self.are_sets else None
        return compare_groups(self.names, GroupPairs.joined(parts), far_targets, results[0].mirrored, images, accuracy)
