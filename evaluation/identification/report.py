"""Write results of identification: lines for the console, JSON, and the mistakes as CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import atomic_file
from common.wording import counted
from evaluation.identification.protocol import FPIR_TARGETS, IdentificationResult

RANKS = (1, 5, 10)


def result_lines(result: IdentificationResult, fpir_targets: Sequence[float] = FPIR_TARGETS) -> list[str]:
    """Return the lines for the console."""
    lines = [
        f"gallery: {counted(result.gallery, 'image')} of {counted(result.people, 'person', 'people')}; "
        f"probes: {len(result.ranks)}, {result.known} of them of people in the gallery",
        *(f"Rank {k}: {result.rank(k):.6f}" for k in RANKS if k == 1 or k < result.people),
    ]
    for target in fpir_targets:
        rate = result.open_set(target)
        if math.isfinite(rate.tpir):
            lines.append(f"TPIR at FPIR {target:g}: {rate.tpir:.6f} (cosine above {rate.threshold:.4f})")
        else:
            missing = (
                f"{counted(math.ceil(1 / target), 'probe')}" if result.people > 1 else "another person in the gallery"
            )
            lines.append(f"TPIR at FPIR {target:g}: not measured; needs {missing}")
    return lines


def write_result(
    directory: str | Path,
    result: IdentificationResult,
    probes: Sequence[str],
    gallery: Sequence[str],
    about: Mapping[str, Any],
    fpir_targets: Sequence[float] = FPIR_TARGETS,
) -> None:
    """Write ``identification.json`` and ``confusions.csv``.

    ``identification.json`` has ``about``, ``gallery_images``, ``people``, ``probes``, ``known_probes``, ``rank`` (k to
    share) and ``open_set``, a list of ``fpir_target``, ``threshold``, ``fpir``, ``tpir``; null is not measured.
    ``confusions.csv`` has a line for each probe whose person does not come first, the clearest mistake first.

    Args:
        directory: folder of the files; created if missing.
        result: the result.
        probes: the name of each probe.
        gallery: the name of each gallery image.
        about: what model and images the result belongs to.
        fpir_targets: the wanted rates.

    Raises:
        UserError: a file cannot be written.
    """
    directory = Path(directory)
    rates = [result.open_set(target) for target in fpir_targets]
    content = {
        "about": about,
        "gallery_images": result.gallery,
        "people": result.people,
        "probes": len(result.ranks),
        "known_probes": result.known,
        "rank": {str(k): _number(result.rank(k)) for k in RANKS if k == 1 or k < result.people},
        "open_set": [{name: _number(value) for name, value in vars(rate).items()} for rate in rates],
    }
    with atomic_file(directory / "identification.json", "w") as handle:
        json.dump(content, handle, indent=2, allow_nan=False)
        handle.write("\n")
    with atomic_file(directory / "confusions.csv", "w") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("probe", "taken_for", "score", "right_image", "right_score", "rank"))
        for probe in result.confusions():
            other, own = gallery[result.other_image[probe]], gallery[result.own_image[probe]]
            scores = (f"{result.other[probe]:.6f}", f"{result.own[probe]:.6f}")
            row = (probes[probe], other, scores[0], own, scores[1], int(result.ranks[probe]))
            writer.writerow([printable(cell) if isinstance(cell, str) else cell for cell in row])


def printable(name: str) -> str:
    """Return a name with bytes that are not UTF-8 shown as ``\\xb0``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
