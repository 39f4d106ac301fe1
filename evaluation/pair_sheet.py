"""Draw pairs of faces with their similarity as one PNG, with matplotlib but without pyplot or a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Protocol

import numpy as np

from evaluation.similarity import cosine_of_distance
from evaluation.verification import VerificationResult

PAIRS_PER_ROW = 5
GAP = 4  # white pixels between the two faces of a pair
ACCEPTED, MISTAKEN = "#1a7f37", "#c62828"


class FacePairs(Protocol):
    """The images of a verification set; ``data.verification.verification_set.VerificationSet`` is one."""

    name: str
    images: np.ndarray  # uint8 [M, 3, S, S], RGB
    index: np.ndarray  # int64 [2N] into images; pair i is images index[2i] and index[2i + 1]
    issame: np.ndarray  # bool [N]


def draw_pairs(handle: IO[bytes], results: Sequence[VerificationResult], sets: Sequence[FacePairs]) -> None:
    """Write a PNG of some pairs of each set to ``handle``: a row of same and a row of different people per set.

    A row runs from the most to the least similar of its pairs, at even ranks between, so that the hardest pairs are
    always among those shown. Below each pair stands its cosine similarity: green if the pair is on the right side of
    the set's threshold, red if not.

    Args:
        handle: where the PNG goes.
        results: the results of ``sets``, in the same order.
        sets: the images and labels of the results' pairs.
    """
    # Here, because it takes a quarter of a second, and most verifications draw nothing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = 2 * len(results)
    figure = Figure(figsize=(9, 0.15 + 1.28 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
    axes = figure.subplots(rows, PAIRS_PER_ROW, squeeze=False)
    for number, (result, faces) in enumerate(zip(results, sets, strict=True)):
        for kind, same in enumerate((True, False)):
            row = axes[2 * number + kind]
            chosen = spread_pairs(result.distances, faces.issame == same, PAIRS_PER_ROW)
            for axis in row:
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            for axis, pair in zip(row, chosen, strict=False):
                distance = result.distances[pair]
                right = (distance < result.threshold) == same
                axis.imshow(_join(faces, pair))
                axis.set_xlabel(
                    f"{cosine_of_distance(distance):.2f}", color=ACCEPTED if right else MISTAKEN, fontsize=9, labelpad=2
                )
            row[0].set_ylabel(f"{result.name}\n{'same person' if same else 'different people'}", fontsize=8)
    figure.suptitle(_title(results), fontsize=9)
    figure.savefig(handle, format="png")


def spread_pairs(distances: np.ndarray, wanted: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of at most ``count`` pairs among ``wanted`` (bool [N]), nearest first, at even ranks.

    The nearest and the farthest are among them; equal distances keep the order of the file.
    """
    numbers = np.flatnonzero(wanted)
    order = numbers[np.argsort(distances[numbers], kind="stable")]
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return order[places]


def _join(faces: FacePairs, pair: int) -> np.ndarray:
    """Return both faces of a pair side by side, uint8 [S, 2S + GAP, 3]."""
    first, second = (faces.images[faces.index[2 * pair + side]].transpose(1, 2, 0) for side in (0, 1))
    gap = np.full((len(first), GAP, 3), 255, np.uint8)
    return np.concatenate([first, gap, second], axis=1)


def _title(results: Sequence[VerificationResult]) -> str:
    thresholds = ", ".join(f"{result.name} {cosine_of_distance(result.threshold):.2f}" for result in results)
    return f"Cosine similarity of pairs, from the most to the least similar (threshold: {thresholds})"
