"""Who is on an image, and which images are the gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.errors import UserError, require
from evaluation.identification.protocol import split_gallery
from evaluation.identification.report import printable


def people_of(names: Sequence[str], labels: np.ndarray | None, where: object) -> np.ndarray:
    """Return the person of each image: its class, or the first folder of its name.

    Args:
        names: the images.
        labels: the class of each, or None.
        where: the file or folder, for messages.

    Raises:
        UserError: an image has neither.
    """
    if labels is not None:
        return np.array([str(label) for label in labels.tolist()])
    loose = [name for name in names if "/" not in name]
    if loose:
        raise UserError(
            f"{where}: {printable(loose[0])} and {len(loose) - 1} others lie in no person's folder; "
            "expected PERSON/FILE, or a dataset with classes"
        )
    return np.array([name.split("/")[0] for name in names])


def split_set(people: np.ndarray, per_person: int, seed: int, where: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of gallery images and of probes of one set; see ``split_gallery``.

    Raises:
        UserError: no probe is left.
    """
    gallery, probes = split_gallery(people, per_person, seed)
    require(len(probes) > 0, f"{where}: no person has more than {per_person} images; no probe is left")
    return gallery, probes


def check_same_people(gallery: np.ndarray, probes: np.ndarray, gallery_name: object, probes_name: object) -> None:
    """Check that a person of the probes is in the gallery.

    Raises:
        UserError: none is.
    """
    known = np.isin(probes, gallery).any()
    require(bool(known), f"{probes_name}: no person is in {gallery_name}; compare the folders' names")
