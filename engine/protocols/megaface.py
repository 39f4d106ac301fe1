"""MegaFace while training, as ``tools/evaluate/megaface.py`` does it, with all distractors of the list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError, collecting
from data.megaface.lists import FACESCRUB_PARTS, MEGAFACE_PARTS, find_noisy, image_names
from engine.protocols.base import Faces, Outcome, list_of, said_of
from evaluation.megaface.noises import replace_noisy_probes
from evaluation.megaface.protocol import FAR_TARGETS, score_megaface
from evaluation.megaface.report import result_lines
from evaluation.search.kernel import ScoreKernel
from evaluation.search.search import unit_rows
from settings.protocols import NamedProtocol

_SETS = (("facescrub", FACESCRUB_PARTS), ("megaface", MEGAFACE_PARTS))
_GREPPED = ("Rank ", "TAR ")


class MegafaceProtocol:
    """People among distractors, in the layout of InsightFace's ``Evaluation/Megaface/data``.

    The folder holds ``facescrub_lst``, ``megaface_lst``, the folders ``facescrub_images`` and ``megaface_images`` (else
    the paths of the lists are relative to the folder itself), and ``facescrub_noises.txt`` and ``megaface_noises.txt``
    if noisy images are to be cleaned.
    """

    def __init__(self, named: NamedProtocol) -> None:
        """Read the lists.

        Raises:
            UserError: one is missing or damaged; the message has a line for each.
        """
        self.named = named
        self.lists, self._noisy = [], []
        place, people, problems = Path(named.place), [], []
        for kind, parts in _SETS:
            with collecting(problems):
                root = place / f"{kind}_images"
                images = list_of(named, place / f"{kind}_lst", root if root.is_dir() else place)
                names = image_names(images.names, parts, f"--val_protocols {named}: {kind}_lst")
                noises = place / f"{kind}_noises.txt"
                self._noisy.append(find_noisy(noises if noises.is_file() else "", "--val_protocols", names, parts))
                self.lists.append(images)
                people.append([name.split("/")[0] for name in names])
        if problems:
            raise UserError(*problems)
        self._people = people[0]

    def check(self, faces: Sequence[Faces]) -> None:
        """Check that a person has two images, and that noisy images can be replaced.

        Raises:
            UserError: none has, or all images of a person are noisy.
        """
        try:
            if len(set(self._people)) == len(self._people):
                raise UserError("no person of facescrub_lst has two images; MegaFace needs pairs of images of one")
            replace_noisy_probes(np.ones((len(self._people), 1), np.float32), self._people, self._noisy[0])
        except UserError as error:
            raise said_of(self.named, error) from error

    def evaluate(self, faces: Sequence[Faces], kernel: ScoreKernel) -> Outcome:
        """Return rank k and TAR at FARs among all distractors."""
        probes, distractors = (each.rows for each in faces)
        noisy = self._noisy[1] if self._noisy[1].any() else None
        rows = replace_noisy_probes(unit_rows(probes, what="FaceScrub image"), self._people, self._noisy[0])
        (result,) = score_megaface(kernel, rows, self._people, distractors, [len(distractors)], noisy)
        numbers = {f"rank_{k}": result.rank(k) for k in (1, 5, 10, 100) if k <= result.distractors}
        for target in FAR_TARGETS:
            tar, threshold = result.tar_at(target)
            numbers |= {f"tar_at_far_{target:g}": tar, f"cosine_at_far_{target:g}": threshold}
        lines = tuple(line for line in result_lines(result) if line.startswith(_GREPPED))
        return Outcome(self.named.name, lines, numbers)
