"""What all reports share: columns of equal width, and JSON without NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as lines with columns of equal width, the first one on the left; no final newline."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        others = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *others]))
    return "\n".join(lines)


def to_json(value: Any) -> Any:
    """Return ``value`` in JSON's own types: arrays as lists, numpy scalars as numbers, NaN and Inf as null."""
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)
