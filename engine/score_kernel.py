"""Choose what computes the scores of searches: the C++ kernel where it can be built, else NumPy."""

from __future__ import annotations

import os
import sys

from common.compiling import NativeUnavailableError
from evaluation.search.kernel import NumpyScoreKernel, ScoreKernel
from ops.native.loader import SWITCH
from ops.search import NativeScoreKernel


def open_score_kernel(threads: int = 0) -> ScoreKernel:
    """Return the C++ kernel, built on first use, or NumPy's and a line on stderr that says why.

    Args:
        threads: by default, the CPUs that the process may use; NumPy decides by itself.
    """
    if os.environ.get(SWITCH) == "0":
        print(f"searching with NumPy, which is slower ({SWITCH}=0)", file=sys.stderr)
        return NumpyScoreKernel()
    try:
        return NativeScoreKernel(threads)
    except NativeUnavailableError as error:
        print(f"searching with NumPy, which is slower; the kernel is not available: {error}", file=sys.stderr)
        return NumpyScoreKernel()
