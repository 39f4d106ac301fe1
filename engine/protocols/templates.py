"""IJB-B and IJB-C, or sets in their layout, while training, as ``tools/evaluate/ijb.py`` does it in mode N1D1F2."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import UserError, require
from data.ijb.meta import find_meta
from engine.protocols.base import Faces, Outcome, list_of, said_of
from engine.template_set import read_template_set
from engine.template_sums import open_template_sums
from evaluation.search.kernel import ScoreKernel
from evaluation.templates.modes import Mode
from evaluation.templates.protocol import evaluate_mode
from evaluation.templates.report import outcome_lines, outcome_numbers
from settings.protocols import NamedProtocol


class TemplateProtocol:
    """1:1 and 1:N of templates, in a folder with ``meta`` and ``loose_crop``."""

    def __init__(self, named: NamedProtocol) -> None:
        """Read the meta files.

        Raises:
            UserError: one is missing or damaged.
        """
        self.named = named
        try:
            files = find_meta(named.place)
            self._data = read_template_set(files)
        except UserError as error:
            raise said_of(named, error, "--data_dir ") from error
        images = list_of(named, files.landmarks, files.images)
        require(images.has_landmarks, f"--val_protocols {named}: {files.landmarks} has no landmarks to align faces by")
        self.lists = [images]

    def check(self, faces: Sequence[Faces]) -> None:
        """Check nothing more: every image is there, and the meta files were checked when they were read."""

    def evaluate(self, faces: Sequence[Faces], kernel: ScoreKernel) -> Outcome:
        """Return the numbers of mode N1D1F2. The templates' scores are float64, so ``kernel`` is not used."""
        result = evaluate_mode(self._data, faces[0].rows, Mode(), open_template_sums())
        return Outcome(self.named.name, tuple(outcome_lines(result)), outcome_numbers(result))
