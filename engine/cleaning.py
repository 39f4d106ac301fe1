"""Find images that do not show their person, by a trained network; draw them beside the person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.wording import counted
from data.contact_sheet import Tile, write_sheet
from data.editing.drop_list import Dropped
from data.editing.same_people import SamePerson
from engine.people import People, find_within, pair_section
from evaluation.person_centres import cosine_of_angle, dominant_centres, mean_centres, trimmed_centres
from snapshots.layout import MANIFEST
from snapshots.reader import Snapshot

_WEIGHT = "fc7_weight"
_IMAGES_SHOWN = 64


@dataclass(frozen=True)
class Findings:
    """What a network says about a set.

    Attributes:
        people: the people, with the centres that images were compared to.
        dropped: images whose angle to the centre of their person is too large, the largest first.
        same: pairs of classes that look like one person, judged by the mean of the images that stay.
    """

    people: People
    dropped: list[Dropped]
    same: list[SamePerson]


def read_subcentres(model: str, num_classes: int) -> np.ndarray | None:
    """Return the class rows of a snapshot with several per class, float32 [num_classes, K, E]; None for other models.

    Raises:
        UserError: the snapshot was trained on another number of classes, so its rows are of other people.
    """
    if not (Path(model) / MANIFEST).is_file():
        return None
    snapshot = Snapshot.open(model)
    if not snapshot.has_classes:
        return None
    if snapshot.head_rows(0, 0)[_WEIGHT].ndim < 3:
        return None
    known = snapshot.about["fc7"]["num_classes"]
    if known != num_classes:
        raise UserError(
            f"{model} has sub-centres of {known} classes, but the set has {num_classes}; they belong to the set of its "
            "training: clean that one, or use --subcenters 0 for the mean of each person's images"
        )
    return snapshot.head_rows(0, known)[_WEIGHT]


def judge(people: People, max_angle: float, same_above: float, subcentres: np.ndarray | None) -> Findings:
    """Compare each image with the centre of its person, and the centres with each other.

    With sub-centres this is the rule of Sub-center ArcFace's drop.py: the centre is the sub-centre that is nearest to
    most images of the person. Without, it is the mean of the images within ``max_angle`` of the mean of all.

    Args:
        people: the people, embedded.
        max_angle: an image is dropped unless its angle to the centre is smaller, in degrees.
        same_above: cosine of two people's means above which they look like one.
        subcentres: float [C, K, E], or None.
    """
    labels, embeddings = people.source.labels, people.embeddings
    if subcentres is None:
        centres, cosines = trimmed_centres(embeddings, labels, people.source.num_classes, max_angle)
    else:
        centres, cosines = dominant_centres(embeddings, labels, subcentres)
    stays = cosines > cosine_of_angle(max_angle)
    numbers = np.flatnonzero(~stays)
    numbers = numbers[np.argsort(cosines[numbers], kind="stable")]
    angles = np.degrees(np.arccos(cosines[numbers].clip(-1, 1)))
    dropped = [
        Dropped(number, int(labels[number]), angle)
        for number, angle in zip(numbers.tolist(), angles.tolist(), strict=True)
    ]
    means = mean_centres(embeddings, labels, people.source.num_classes, stays)
    same = find_within(People(people.source, embeddings, means), same_above)
    return Findings(People(people.source, embeddings, centres), dropped, same)


def write_findings(path: Path, findings: Findings) -> None:
    """Write a contact sheet: each image to be dropped after the most central one of its person; then the pairs.

    Raises:
        UserError: the file cannot be written.
    """
    people, listing = findings.people, findings.people.source.listing
    shown = findings.dropped[:_IMAGES_SHOWN]
    central = people.most_central([each.label for each in shown]) if shown else []
    names = [listing.class_name(each.label) for each in shown]
    references = people.tiles(central, [f"{name}\nthe centre" for name in names])
    images = people.tiles(
        [each.image for each in shown], [f"{listing.caption(e.image)}\n{e.angle:.0f} degrees" for e in shown]
    )
    tiles: list[Tile] = [tile for pair in zip(references, images, strict=True) for tile in pair]
    title = f"{counted(len(findings.dropped), 'image')} far from their person" + (
        f" (the first {len(shown)})" if len(shown) < len(findings.dropped) else ""
    )
    write_sheet(path, [(title, tiles), pair_section([people], findings.same)])
