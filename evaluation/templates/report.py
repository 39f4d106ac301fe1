"""Write the results on IJB-B or IJB-C: ``report.json``, pictures, and the tables of InsightFace's scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import atomic_file
from evaluation.report_form import align_columns, to_json
from evaluation.templates.identification import RANKS, REPORTED, Identification, SearchResult, TpirPoint
from evaluation.templates.picture import draw_identification, draw_verification
from evaluation.templates.protocol import ModeResult, Verification
from evaluation.templates.sets import TemplateSet


def write_report(
    directory: str | Path, data: TemplateSet, results: Sequence[ModeResult], about: Mapping[str, Any]
) -> None:
    """Write ``report.json``, and ``roc.png`` and ``identification.png`` as far as there are such results.

    ``report.json`` has these keys; numbers that could not be measured are null::

        about    the caller's description of model and embeddings
        set      {target, images, templates, pairs, same_pairs, probes, galleries {name: templates}}
        modes    {mode, such as N1D1F2: {
            verification    {
                auc         area under the ROC curve
                points      [{fpr_target, tpr, fpr, threshold, tpr_within, tpr_interpolated, reachable}]
            }
            identification  {
                closed      both galleries joined: {gallery, probes, others, rank_1, rank_5, rank_10,
                            points [{fpir_target, tpir, threshold}]}
                open        {name of the gallery: the same}
                mean        {rank_1, rank_5, rank_10, points [{fpir_target, tpir}]} of the galleries
            }
        }}
    """
    content = {"about": about, "set": _describe(data), "modes": {str(each.mode): _numbers(each) for each in results}}
    directory = Path(directory)
    with atomic_file(directory / "report.json", "w") as handle:
        json.dump(to_json(content), handle, indent=2, allow_nan=False)
        handle.write("\n")
    if any(each.verification for each in results):
        with atomic_file(directory / "roc.png") as handle:
            draw_verification(handle, data.target, results)
    if any(each.identification for each in results):
        with atomic_file(directory / "identification.png") as handle:
            draw_identification(handle, data.target, results)


def format_verification(data: TemplateSet, results: Sequence[ModeResult]) -> str:
    """Return the table of TPR in percent at each FPR, as ``ijb_11.py`` prints it, and the area under the curve."""
    found = [(str(each.mode), each.verification) for each in results if each.verification]
    points = found[0][1].points
    rows = [("TPR % at FPR", *(f"{point.fpr_target:g}{'' if point.reachable else ' *'}" for point in points), "AUC")]
    for mode, result in found:
        numbers = [f"{100 * point.tpr:.2f}" for point in result.points]
        rows.append((f"{mode}-{data.target}", *numbers, f"{result.curve.auc:.6f}"))
    table = align_columns(rows)
    if any(not point.reachable for point in points):
        table += "\n* fewer pairs of two people than are needed for this FPR: the TPR is that of the nearest one"
    return table


def format_identification(result: Identification) -> str:
    """Return the lines of ``ijb_1n.py`` (both galleries) and of ``ijb_evals.py --is_one_2_N`` (each, and the mean)."""
    closed = result.closed
    lines = [
        f"both galleries: {closed.probes} probes, {closed.gallery} templates, no unknown probes (ijb_1n.py)",
        f"  {_format_ranks(closed.rank_rates)}",
        *(
            f"  far = {point.fpir_target:.10f} pr = {point.tpir:.10f} th = {point.threshold:.10f}"
            for point in closed.points
        ),
    ]
    for name, found in result.open.items():
        lines += [
            f"gallery {name}: {found.probes} probes, {found.gallery} templates, {found.others} unknown people's probes "
            "(ijb_evals.py)",
            f"  {_format_ranks(found.rank_rates)}",
        ]
    lines.append(f"[Mean] {_format_ranks(result.mean_rank_rates)}")
    heading = ("FPIR", *(part for name in result.open for part in (f"{name} TPIR", f"{name} threshold")), "mean TPIR")
    rows = [heading]
    for rate in REPORTED:
        cells = [f"{rate:g}"]
        for found in result.open.values():
            point = _point(found.points, rate)
            cells += [_format(point.tpir), _format(point.threshold)]
        rows.append((*cells, _format(_point(result.mean_points, rate).tpir)))
    return "\n".join([*lines, align_columns(rows)])


def outcome_lines(result: ModeResult) -> list[str]:
    """Return a line for each number that could be measured, for the log of a training."""
    lines = []
    if result.verification:
        for point in result.verification.points:
            if point.reachable:
                lines.append(f"TPR at FPR {point.fpr_target:g}: {point.tpr:.6f} (score from {point.threshold:.4f})")
        lines.append(f"AUC: {result.verification.curve.auc:.6f}")
    if result.identification:
        closed = result.identification.closed
        lines += [f"Rank {rank}: {rate:.6f}" for rank, rate in zip(RANKS, closed.rank_rates, strict=True)]
        lines += [
            f"TPIR at FPIR {point.fpir_target:g}: {point.tpir:.6f} (score above {point.threshold:.4f})"
            for point in closed.points
            if math.isfinite(point.tpir)
        ]
    return lines


def outcome_numbers(result: ModeResult) -> dict[str, float]:
    """Return the numbers for the metrics of a training, by name; NaN for what cannot be measured.

    1:N is that of the joined galleries; ``open_`` are the means over the single galleries.
    """
    numbers: dict[str, float] = {}
    if result.verification:
        for point in result.verification.points:
            numbers[f"tpr_at_fpr_{point.fpr_target:g}"] = point.tpr if point.reachable else math.nan
        numbers["auc"] = result.verification.curve.auc
    if result.identification:
        closed = result.identification.closed
        numbers |= _rank_numbers(closed.rank_rates)
        numbers |= {f"tpir_at_fpir_{point.fpir_target:g}": point.tpir for point in closed.points}
        numbers |= {f"open_{k}": rate for k, rate in _rank_numbers(result.identification.mean_rank_rates).items()}
        for rate in REPORTED[2:4]:  # 0.01 and 0.1
            numbers[f"open_tpir_at_fpir_{rate:g}"] = _point(result.identification.mean_points, rate).tpir
    return numbers


def _point(points: Sequence[TpirPoint], rate: float) -> TpirPoint:
    return next(point for point in points if point.fpir_target == rate)


def _format_ranks(rates: Sequence[float]) -> str:
    return ", ".join(f"top{rank}: {_format(rate)}" for rank, rate in zip(RANKS, rates, strict=True))


def _format(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "-"


def _describe(data: TemplateSet) -> dict[str, Any]:
    facts: dict[str, Any] = {"target": data.target, "images": len(data.images), "templates": len(data.layout.templates)}
    if data.pairs is not None:
        facts |= {"pairs": len(data.pairs), "same_pairs": int(data.pairs.same.sum())}
    if data.galleries and data.probes is not None:
        facts["probes"] = len(data.probes.templates)
        facts["galleries"] = {name: len(people.templates) for name, people in data.galleries.items()}
    return facts


def _numbers(result: ModeResult) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    if result.verification:
        numbers["verification"] = _verification_numbers(result.verification)
    if result.identification:
        found = result.identification
        numbers["identification"] = {
            "closed": _search_numbers(found.closed, [point.fpir_target for point in found.closed.points]),
            "open": {name: _search_numbers(each, REPORTED) for name, each in found.open.items()},
            "mean": {
                **_rank_numbers(found.mean_rank_rates),
                "points": [{"fpir_target": rate, "tpir": _point(found.mean_points, rate).tpir} for rate in REPORTED],
            },
        }
    return numbers


def _verification_numbers(result: Verification) -> dict[str, Any]:
    return {"auc": result.curve.auc, "points": [vars(point) for point in result.points]}


def _search_numbers(result: SearchResult, rates: Sequence[float]) -> dict[str, Any]:
    counts = {"gallery": result.gallery, "probes": result.probes, "others": result.others}
    points = [vars(_point(result.points, rate)) for rate in rates]
    return {**counts, **_rank_numbers(result.rank_rates), "points": points}


def _rank_numbers(rates: Sequence[float]) -> dict[str, float]:
    return {f"rank_{rank}": rate for rank, rate in zip(RANKS, rates, strict=True)}
