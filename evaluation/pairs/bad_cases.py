"""Find the pairs that a verification gets wrong, the worst first, as mode 1 of InsightFace's ``verification.py``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evaluation.verification import VerificationResult


class BadCases(NamedTuple):
    """Numbers of pairs, int64, the worst first; equally bad ones keep the order of the file.

    Attributes:
        false_accepts: two people that count as one, the most similar first.
        false_rejects: one person that counts as two, the least similar first.
    """

    false_accepts: np.ndarray
    false_rejects: np.ndarray


def find_bad_cases(result: VerificationResult, issame: np.ndarray) -> BadCases:
    """Return all pairs that are on the wrong side of the threshold of their fold.

    The threshold is the one that accuracy is measured at: the best of the other folds. So the number of bad cases is
    the number of errors in the accuracy.

    Args:
        result: the result of the pairs.
        issame: bool [N], whether the pairs show one person.
    """
    accepted = result.distances < result.pair_thresholds
    accepts, rejects = np.flatnonzero(accepted & ~issame), np.flatnonzero(~accepted & issame)
    return BadCases(
        accepts[np.argsort(result.distances[accepts], kind="stable")],
        rejects[np.argsort(-result.distances[rejects], kind="stable")],
    )
