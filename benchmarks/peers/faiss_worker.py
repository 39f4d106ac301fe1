"""The exact inner-product index of faiss, in the environment of the peers."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from benchmarks.peers.protocol import serve
from benchmarks.peers.search_job import Search


class Faiss(Search):
    """An IndexFlatIP that holds the gallery."""

    label = f"faiss {faiss.__version__}"

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        faiss.omp_set_num_threads(self.threads)
        self._index = faiss.IndexFlatIP(self.gallery.shape[1])
        self._index.add(self.gallery)

    def search(self, probes: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and numbers [P, k], best first, in the index."""
        if len(gallery) != self._index.ntotal:
            raise ValueError("the index holds the whole gallery")
        return self._index.search(probes, self.k)


if __name__ == "__main__":
    serve(Faiss)
