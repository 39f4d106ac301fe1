"""Searches in a gallery: ours, with NumPy in blocks, with InsightFace's argsort, and the bare products."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from typing_extensions import override

from benchmarks.peers.protocol import serve
from benchmarks.peers.search_job import Search
from evaluation.search.search import best_matches
from ops.native.requirements import locate_onednn
from ops.search import NativeScoreKernel

_ROWS = 4096  # gallery rows of a block; 58 MB of scores for 3530 probes


class Ours(Search):
    """The search kernel."""

    label = "ours"

    @override
    def search(self, probes: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kernel = NativeScoreKernel(self.threads)
        return best_matches(kernel, probes, gallery, self.k, is_unit=True)


class NumpyBlocks(Search):
    """Products of blocks; the best of each block are partitioned off and merged."""

    label = f"numpy {np.__version__} in blocks"

    @override
    def search(self, probes: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, numbers = [], []
        for start in range(0, len(gallery), _ROWS):
            block = probes @ gallery[start : start + _ROWS].T
            k = min(self.k, block.shape[1])
            best = np.argpartition(block, -k, axis=1)[:, -k:]
            scores.append(np.take_along_axis(block, best, 1))
            numbers.append(best + start)
        all_scores, all_numbers = np.concatenate(scores, axis=1), np.concatenate(numbers, axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, : self.k]
        return np.take_along_axis(all_scores, order, 1), np.take_along_axis(all_numbers, order, 1)


class Argsort(Search):
    """InsightFace's way: whole rows of scores are sorted."""

    label = "argsort of full rows"

    @override
    def search(self, probes: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = probes @ gallery.T
        order = np.argsort(-scores, axis=1)[:, : self.k]
        return np.take_along_axis(scores, order, 1), order


class Product(Search):
    """NumPy's product alone; its scores are overwritten."""

    label = f"product, numpy {np.__version__}"

    @override
    def check(self, steps: int) -> list[float]:
        return []  # nothing is found

    @override
    def step(self) -> list[float]:
        probes, gallery = self.measured
        scores = np.empty((len(probes), _ROWS), np.float32)
        for start in range(0, len(gallery), _ROWS):
            self.multiply(probes, gallery[start : start + _ROWS], scores)
        return []

    def multiply(self, probes: np.ndarray, block: np.ndarray, scores: np.ndarray) -> None:
        """Fill the first columns of ``scores`` with the products of probes and a block of at most as many rows."""
        np.matmul(probes, block.T, out=scores[:, : len(block)] if len(block) == _ROWS else None)

    @override
    def search(self, probes: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


class OneDnnProduct(Product):
    """oneDNN's product alone."""

    label = "product, oneDNN"

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        files = locate_onednn()
        self.label = f"product, oneDNN {files.version}"
        self._product = ctypes.CDLL(str(files.library)).dnnl_sgemm
        size, pointer = ctypes.c_int64, ctypes.c_void_p
        self._product.argtypes = [
            *(ctypes.c_char, ctypes.c_char, size, size, size),
            *(ctypes.c_float, pointer, size, pointer, size, ctypes.c_float, pointer, size),
        ]

    @override
    def multiply(self, probes: np.ndarray, block: np.ndarray, scores: np.ndarray) -> None:
        count, width = probes.shape
        factors = (1.0, probes.ctypes.data, width, block.ctypes.data, width)
        if self._product(b"N", b"T", count, len(block), width, *factors, 0.0, scores.ctypes.data, _ROWS):
            raise RuntimeError("dnnl_sgemm failed")


KINDS = {"ours": Ours, "numpy": NumpyBlocks, "argsort": Argsort, "product": Product, "onednn": OneDnnProduct}

if __name__ == "__main__":
    serve(lambda job: KINDS[job["kind"]](job))
