"""Scores of probes against a gallery in C++: the best k, counts above thresholds, histograms. Needs no OneFlow."""

from ops.search.kernel import NativeScoreKernel

__all__ = ["NativeScoreKernel"]
