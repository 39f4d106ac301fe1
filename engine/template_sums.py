"""Choose what adds the images of templates up: the C++ kernel where it can be built, else SciPy."""

from __future__ import annotations

import os
import sys

from common.compiling import NativeUnavailableError
from evaluation.templates.pooling import TemplateSums, sum_in_blocks
from ops.native.loader import SWITCH
from ops.search import NativeTemplateSums


def open_template_sums() -> TemplateSums:
    """Return the C++ kernel, built on first use, or SciPy's sums and a line on stderr that says why."""
    if os.environ.get(SWITCH) == "0":
        print(f"pooling with SciPy, which is slower ({SWITCH}=0)", file=sys.stderr)
        return sum_in_blocks
    try:
        return NativeTemplateSums()
    except NativeUnavailableError as error:
        print(f"pooling with SciPy, which is slower; the kernel is not available: {error}", file=sys.stderr)
        return sum_in_blocks
