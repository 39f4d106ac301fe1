"""Scores of probes against a gallery in C++: the best k, counts above thresholds, histograms; and sums of templates'
images. Needs no OneFlow."""

from ops.search.kernel import NativeScoreKernel
from ops.search.pooling import NativeTemplateSums

__all__ = ["NativeScoreKernel", "NativeTemplateSums"]
