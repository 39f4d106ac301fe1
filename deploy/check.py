"""The table of runtimes for a model: what each computes on real faces, and how fast."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, require
from common.progress import progress
from deploy.acceptance import TOLERANCES
from deploy.candidates import NAMES, Entry, list_entries
from deploy.environment import MissingPackage
from deploy.faces import load_faces
from deploy.measure import Candidate, Result, embed_faces, measure_speeds
from deploy.source import Source
from evaluation.text_table import markdown

FACES = 200  # of a folder
SAME = 0.9999  # least cosine between an image's embedding in a batch and alone


@dataclass
class Row:
    """What is known about a file in a runtime; without a result, ``note`` says why.

    Attributes:
        entry: file and runtime.
        note: what is wrong with it; empty if nothing is.
        candidate: what was run.
        result: its embeddings.
        cosine_least: to the reference.
        cosine_mean: to the reference.
        one_core: images per second.
        all_cores: images per second.
    """

    entry: Entry
    note: str = ""
    candidate: Candidate | None = None
    result: Result | None = None
    cosine_least: float = float("nan")
    cosine_mean: float = float("nan")
    one_core: float = float("nan")
    all_cores: float = float("nan")

    @property
    def size(self) -> int:
        """Bytes of the file that the runtime loads; of a snapshot, those of the backbone."""
        if self.candidate is None:
            return 0
        path = Path(self.candidate.file)
        if path.is_dir():
            return sum(each.stat().st_size for each in path.glob("backbone*"))
        beside = path.with_suffix(".bin")
        files = [path, beside] if path.suffix in (".xml", ".param") else [path]
        return sum(each.stat().st_size for each in files if each.is_file())

    def describe(self) -> dict[str, Any]:
        """Return the row as numbers; NaN where there is none."""
        found = self.result.verification if self.result else None
        nan = float("nan")
        return {
            "file": self.entry.file,
            "runtime": self.entry.name,
            "version": self.result.version if self.result else "",
            "accuracy": found.accuracy if found else nan,
            "threshold": found.threshold if found else nan,
            "cosine_least": self.cosine_least,
            "cosine_mean": self.cosine_mean,
            "cosine_alone": self.result.alone_cosine if self.result else nan,
            "images_per_second_one_core": self.one_core,
            "images_per_second_all_cores": self.all_cores,
            "bytes": self.size,
            "note": self.note,
        }


def check_runtimes(
    files: Sequence[str], pairs: str, names: tuple[str, ...] = NAMES, with_speed: bool = True
) -> list[dict[str, Any]]:
    """Run files in all runtimes and return a row for each, as ``Row.describe`` does.

    Args:
        files: the model, with which all are compared, and other files made of it.
        pairs: see ``load_faces``.
        names: runtimes that are wanted, of ``NAMES``.
        with_speed: whether to measure images per second.

    Raises:
        UserError: the faces or a file cannot be read, or the first is not a model that this project reads.
    """
    size = Source.open(files[0]).size
    faces = load_faces(pairs, size, FACES)
    with tempfile.TemporaryDirectory() as root:
        entries = []
        for number, file in enumerate(files):
            folder = Path(root) / str(number)
            folder.mkdir()
            entries += list_entries(file, folder, names)
        rows = [Row(entry) for entry in entries]
        for row in progress(rows, desc="runtimes"):
            try:
                row.candidate = row.entry.prepare()
                row.result = embed_faces(row.candidate, faces, size)
            except MissingPackage as error:
                row.note = str(error)
            except UserError as error:
                row.note = f"fails: {str(error)[:160]}"
        reference = rows[0].result
        require(reference is not None, f"{files[0]} does not run with this project: {rows[0].note}")
        ran = [row for row in rows if row.result is not None]
        for row in ran:
            _compare(row, reference)
        if with_speed:
            candidates = [row.candidate for row in ran]
            for row, one, every in zip(
                ran,
                measure_speeds(candidates, faces, size, cores=1),
                measure_speeds(candidates, faces, size, cores=0),
                strict=True,
            ):
                row.one_core, row.all_cores = one, every
        return [row.describe() for row in rows]


def _compare(row: Row, reference: Result) -> None:
    cosines = row.result.cosines(reference)
    row.cosine_least, row.cosine_mean = float(cosines.min()), float(cosines.mean())
    if row.cosine_least < TOLERANCES[row.entry.precision].min_cosine:
        row.note = "embeddings differ from the model's"
    if row.result.alone_cosine < SAME:
        row.note = f"{row.note}; " * bool(row.note) + "an embedding depends on the batch that its image is in"


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    head = ["file", "runtime", "accuracy %", "threshold", "cosine least", "mean", "alone", "images/s, one core"]
    table = [[*head, f"all {len(os.sched_getaffinity(0))}", "MB", "note"]]
    for row in rows:
        kinds = (
            (100 * row["accuracy"], ".2f"),
            (row["threshold"], ".3f"),
            (row["cosine_least"], ".7f"),
            (row["cosine_mean"], ".7f"),
            (row["cosine_alone"], ".5f"),
            (row["images_per_second_one_core"], ".1f"),
            (row["images_per_second_all_cores"], ".1f"),
            (row["bytes"] / 1e6 or float("nan"), ".1f"),
        )
        cells = [format(value, form) if np.isfinite(value) else "-" for value, form in kinds]
        runtime = f"{row['runtime']} {row['version']}".strip() if row["runtime"] != "this project" else row["runtime"]
        table.append([Path(row["file"]).name, runtime, *cells, row["note"]])
    return markdown(table)
