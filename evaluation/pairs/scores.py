"""Write the score of each pair as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import IO

import numpy as np

from evaluation.pair_metrics import fold_slices
from evaluation.similarity import cosine_of_distance
from evaluation.verification import VerificationResult

COLUMNS = ("set", "pair", "same", "distance", "cosine", "fold", "threshold", "accepted")


def write_scores(handle: IO[str], results: Sequence[VerificationResult], labels: Sequence[np.ndarray]) -> None:
    """Write a line for each pair of each set, in file order.

    The columns: the set; the number of the pair from 0, whose images are 2 x pair and 2 x pair + 1 of a ``.bin``; 1 for
    pairs of one person; squared distance and cosine similarity, with all digits; the test fold from 0 and its
    threshold, a distance; and 1 for pairs that are accepted as one person.

    Args:
        handle: an open text file.
        results: the results.
        labels: bool [N] of each result, whether the pairs show one person.
    """
    writer = csv.writer(handle, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result, issame in zip(results, labels, strict=True):
        slices = fold_slices(result.pairs, len(result.fold_thresholds))
        folds = np.repeat(np.arange(len(slices)), [fold.stop - fold.start for fold in slices])
        columns = zip(
            issame.tolist(), result.distances.tolist(), folds.tolist(), result.pair_thresholds.tolist(), strict=True
        )
        for pair, (same, distance, fold, threshold) in enumerate(columns):
            cosine = cosine_of_distance(distance)
            writer.writerow(
                (result.name, pair, int(same), distance, cosine, fold, f"{threshold:.2f}", int(distance < threshold))
            )
