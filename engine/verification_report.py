"""Write the report of a verification: numbers, scores and pictures of one model, or the comparison of several."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from data.contact_sheet import Tile, write_sheet
from data.verification.verification_set import VerificationSet
from evaluation.comparison.compare import Comparison
from evaluation.comparison.page import Picture, render_page
from evaluation.comparison.tables import format_markdown, write_csv, write_json
from evaluation.pairs.bad_cases import find_bad_cases
from evaluation.pairs.histogram import draw_histograms
from evaluation.pairs.scores import write_scores
from evaluation.report import write_report
from evaluation.roc_picture import draw_roc
from evaluation.similarity import cosine_of_distance
from evaluation.verification import VerificationResult

BAD_CASES = "bad_cases.jpg"
_PAIRS_IN_A_ROW = 4


def write_model_report(
    folder: Path,
    results: Sequence[VerificationResult],
    speed: Mapping[str, float],
    about: Mapping[str, Any],
    sets: Sequence[VerificationSet],
    labels: Sequence[np.ndarray],
    bad_cases: int,
) -> None:
    """Write report.json, roc.png, histogram.png and scores.csv; pairs.png of ``sets``, bad_cases.jpg if it is wanted.

    Args:
        folder: where they go.
        results: the results.
        speed: images per second of each set.
        about: the description of the model.
        sets: the images of the results' pairs, in the same order; none without images.
        labels: bool [N] of each result, whether the pairs show one person.
        bad_cases: how many of each kind of error to show for each set; 0: none.

    Raises:
        UserError: a set occurs twice, or a file cannot be written.
    """
    write_report(folder, results, speed, about, sets)
    with atomic_file(folder / "histogram.png") as handle:
        draw_histograms(handle, results, labels)
    with atomic_file(folder / "scores.csv", "w") as handle:
        write_scores(handle, results, labels)
    if bad_cases:
        sections = [
            section
            for result, each in zip(results, sets, strict=True)
            for section in _sections(result, each, bad_cases)
        ]
        size = sets[0].images.shape[-1]
        write_sheet(folder / BAD_CASES, sections, _PAIRS_IN_A_ROW, (2 * size, size))


def _sections(result: VerificationResult, faces: VerificationSet, count: int) -> list[tuple[str, list[Tile]]]:
    """Return the false accepts and the false rejects of a set for a sheet, the worst ``count`` of each."""
    found = find_bad_cases(result, faces.issame)
    total = {True: np.count_nonzero(faces.issame), False: np.count_nonzero(~faces.issame)}
    kinds = (
        ("false accepts", found.false_accepts, f"{total[False]} pairs of two people"),
        ("false rejects", found.false_rejects, f"{total[True]} pairs of one person"),
    )
    sections = []
    for kind, pairs, among in kinds:
        shown = f", the worst {count}" if len(pairs) > count else ""
        title = f"{result.name}: {len(pairs)} {kind} among {among}{shown}"
        tiles = [Tile(_join(faces, pair), _caption(result, pair)) for pair in pairs[:count].tolist()]
        sections.append((title, tiles))
    return sections


def _caption(result: VerificationResult, pair: int) -> str:
    cosine, threshold = (cosine_of_distance(each[pair]) for each in (result.distances, result.pair_thresholds))
    return f"pair {pair}: cosine {cosine:.3f}, threshold {threshold:.3f}"


def _join(faces: VerificationSet, pair: int) -> np.ndarray:
    """Return both faces of a pair side by side, uint8 [S, 2S, 3]."""
    both = [faces.images[faces.index[2 * pair + side]].transpose(1, 2, 0) for side in (0, 1)]
    return np.concatenate(both, axis=1)


def model_folders(models: Sequence[str]) -> dict[str, str]:
    """Return the name of a folder for each model: its own, with more of its path where two have the same.

    Raises:
        UserError: two models have the same path in other words.
    """
    parts = {model: Path(model.replace("|", "_")).parts for model in models}
    for length in range(1, max(map(len, parts.values())) + 1):
        names = {model: "_".join(part.strip("/") for part in path[-length:]) for model, path in parts.items()}
        if len({*names.values()}) == len(models):
            return names
    raise UserError(f"the models {', '.join(models)} cannot be told apart; name each one once")


def write_comparison(
    folder: Path,
    comparison: Comparison,
    results: Mapping[str, Sequence[VerificationResult]],
    sheets: Mapping[str, Path],
    texts: Sequence[tuple[str, str]],
) -> None:
    """Write comparison.md, comparison.csv, comparison.json and comparison.html.

    Args:
        folder: where they go.
        comparison: the numbers.
        results: the results of each model, for the ROC curves: one picture for each set.
        sheets: the sheet of bad cases of each model, for the page.
        texts: title and text of further sections of the page.

    Raises:
        UserError: a file cannot be written.
    """
    pictures = []
    for place, name in enumerate(comparison.sets):
        curves = [replace(results[model][place], name=model) for model in comparison.models]
        pictures.append(Picture(f"{name}: ROC", _draw(lambda handle, curves=curves: draw_roc(handle, curves))))
    pictures += [Picture(f"{model}: bad cases", path.read_bytes()) for model, path in sheets.items()]
    with atomic_file(folder / "comparison.md", "w") as handle:
        handle.write(format_markdown(comparison))
    with atomic_file(folder / "comparison.csv", "w") as handle:
        write_csv(handle, comparison)
    with atomic_file(folder / "comparison.json", "w") as handle:
        write_json(handle, comparison)
    with atomic_file(folder / "comparison.html", "w") as handle:
        handle.write(render_page(comparison, pictures, texts))


def _draw(draw: Callable[[IO[bytes]], None]) -> bytes:
    buffer = io.BytesIO()
    draw(buffer)
    return buffer.getvalue()
