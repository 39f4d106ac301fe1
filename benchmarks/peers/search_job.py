"""Code shared by the workers of the search benchmark. Needs only numpy."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from benchmarks.peers.protocol import Contestant


class Search(Contestant):
    """A search of the probes of a job in its gallery; both are files of unit rows, mapped into memory.

    The results are the number of each probe's best match, and then the sum of the scores of all its best ``k``.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.k, self.threads = job["k"], job["threads"]
        self.probes = np.load(job["probes"], mmap_mode="r")[: job.get("some_probes")]
        self.gallery = np.load(job["gallery"], mmap_mode="r")

    @abstractmethod
    def search(self) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and numbers [P, k], best first."""

    def step(self) -> list[float]:
        """Search."""
        scores, numbers = self.search()
        return [*numbers[:, 0].astype(float).tolist(), *scores.astype(float).sum(axis=1).tolist()]
