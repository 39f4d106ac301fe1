"""Compare a converted model with the snapshot on real faces, and accept or refuse it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import UserError
from deploy.measure import Result
from evaluation.report_form import align_columns


@dataclass(frozen=True)
class Tolerance:
    """What a converted model may differ by.

    Attributes:
        min_cosine: least cosine of any embedding to that of the snapshot.
        max_accuracy_drop: how much lower the verification accuracy may be, in percentage points.
    """

    min_cosine: float
    max_accuracy_drop: float


TOLERANCES: Mapping[str, Tolerance] = {
    "float32": Tolerance(0.99999, 0.05),
    "float16": Tolerance(0.999, 0.2),
    "bf16": Tolerance(0.99, 0.5),
    "int8": Tolerance(0.95, 0.5),
}


def describe(rows: Mapping[str, tuple[Result, float]], reference: Result) -> str:
    """Return the table of results, with their images per second on one core, beside the reference."""
    table = [("", "cosine least", "mean", "alone", "accuracy %", "threshold", "images/s, one core")]
    for name, (result, speed) in rows.items():
        cosines = result.cosines(reference)
        found = result.verification
        scores = (f"{100 * found.accuracy:.2f}", f"{found.threshold:.3f}") if found else ("-", "-")
        figures = (f"{cosines.min():.7f}", f"{cosines.mean():.7f}", f"{result.alone_cosine:.5f}")
        table.append((name, *figures, *scores, f"{speed:.1f}" if speed == speed else "-"))
    return align_columns(table)


def require_likeness(target: str, result: Result, reference: Result, tolerance: Tolerance) -> None:
    """Check a result.

    Raises:
        UserError: it differs by more than ``tolerance``; the caller must not keep ``target``.
    """
    least = float(result.cosines(reference).min())
    problems = []
    if not least >= tolerance.min_cosine:
        problems.append(
            f"{target} is not written: its least cosine to the model is {least:.7f}; "
            f"--min_cosine is {tolerance.min_cosine:g}"
        )
    if result.verification and reference.verification:
        drop = 100 * (reference.verification.accuracy - result.verification.accuracy)
        if drop > tolerance.max_accuracy_drop:
            problems.append(
                f"{target} is not written: its accuracy is {drop:.2f} percentage points lower; "
                f"--max_accuracy_drop is {tolerance.max_accuracy_drop:g}"
            )
    if problems:
        raise UserError(*problems)
