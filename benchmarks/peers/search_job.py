"""Code shared by the workers of the search benchmark. Needs only numpy."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from benchmarks.peers.protocol import Contestant

_CHECKED = 64  # probes that the contestants' answers are compared for


class Search(Contestant):
    """A search of the probes of a job in its gallery; both are files of unit rows, read into memory.

    A job with ``some_probes`` or ``some_rows`` measures the search of the first probes in the first rows. The first
    search, of 64 probes in all rows, is compared with the other contestants': its results are the number of each
    probe's best match, and then the sum of the scores of all its best ``k``. Later ones are compared with the planted
    answers.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.k, self.threads = job["k"], job["threads"]
        self.probes, self.gallery = np.load(job["probes"]), np.load(job["gallery"])
        self.answers = np.load(job["answers"])
        self.measured = self.probes[: job.get("some_probes")], self.gallery[: job.get("some_rows")]

    @abstractmethod
    def search(self, probes: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and numbers [P, k], best first."""

    def check(self, steps: int) -> list[float]:
        """Search for the first probes, and return what was found."""
        scores, numbers = self.search(self.probes[:_CHECKED], self.gallery)
        return [*numbers[:, 0].astype(float).tolist(), *scores.astype(float).sum(axis=1).tolist()]

    def step(self) -> list[float]:
        """Search; return nothing.

        Raises:
            RuntimeError: a planted answer was not found.
        """
        probes, gallery = self.measured
        _, numbers = self.search(probes, gallery)
        answers = self.answers[: len(probes)]
        if ((numbers[:, 0] != answers) & (answers < len(gallery))).any():
            raise RuntimeError("a planted answer was not found")
        return []
