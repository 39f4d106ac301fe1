"""Check the protocols of a run before its first step. Free of OneFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from common.errors import UserError, collecting
from common.workers import available_cpus
from data.image_lists.images import ImageList
from engine.protocols.base import Faces, ImageProtocol
from engine.protocols.faces import find_faults, task_of, usable_faces
from engine.protocols.groups import GroupProtocol
from engine.protocols.identification import IdentifyProtocol
from engine.protocols.megaface import MegafaceProtocol
from engine.protocols.templates import TemplateProtocol
from settings.places import verification_path
from settings.protocols import GROUPS, IDENTIFY, IJB, MEGAFACE, NamedProtocol, read_protocols

MOST_IMAGES = 100_000
"""Images of all protocols together: 3.8 GB of faces of 112x112 pixels in memory."""

OPENERS: Mapping[str, Callable[[NamedProtocol], ImageProtocol]] = {
    IDENTIFY: IdentifyProtocol,
    MEGAFACE: MegafaceProtocol,
    IJB: TemplateProtocol,
}


def open_protocols(config: Mapping[str, Any]) -> list[ImageProtocol]:
    """Read the lists of ``val_protocols`` that have images of their own.

    Raises:
        UserError: files are missing or damaged, or there are too many images; the message has a line for each.
    """
    problems: list[str] = []
    found = _open(config, problems)
    if problems:
        raise UserError(*problems)
    return found


def check_protocols(config: Mapping[str, Any]) -> list[str]:
    """Check that every file of ``val_protocols`` is there and every image can be decoded.

    Returns:
        a line that says how many images are embedded.

    Raises:
        UserError: files are missing or damaged, or do not suffice; the message has a line for each.
    """
    problems: list[str] = []
    found = _open(config, problems)
    for each in found:
        with collecting(problems):
            each.check([_look_at(each.named, images, config["image_size"]) for images in each.lists])
    for named in read_protocols(config):
        if named.kind == GROUPS:
            with collecting(problems):
                GroupProtocol(named, _count_pairs(config))
    if problems:
        raise UserError(*problems)
    count = sum(map(_count, found))
    if not count:
        return []
    size = 3 * config["image_size"] ** 2 * count / 1e6
    return [f"val_protocols embeds {count:,} images, {size:.0f} MB of faces over all ranks, at each verification"]


def _open(config: Mapping[str, Any], problems: list[str]) -> list[ImageProtocol]:
    """Return the protocols that can be opened and add to ``problems``; none if there are too many images."""
    found: list[ImageProtocol] = []
    for named in read_protocols(config):
        if named.kind in OPENERS:
            with collecting(problems):
                found.append(OPENERS[named.kind](named))
    if sum(map(_count, found)) <= MOST_IMAGES:
        return found
    shown = ", ".join(f"{_count(each):,} of {each.named}" for each in found)
    problems.append(
        f"--val_protocols: {shown}; while training at most {MOST_IMAGES:,} images are embedded: use smaller sets, and "
        "tools/evaluate with a snapshot for the whole ones"
    )
    return []


def _count(protocol: ImageProtocol) -> int:
    return sum(len(images.places) for images in protocol.lists)


def _look_at(named: NamedProtocol, images: ImageList, size: int) -> Faces:
    """Return the images that can be used, after decoding all."""
    task = task_of(images, size, available_cpus())
    return usable_faces(named, task, find_faults(task))[0]


def _count_pairs(config: Mapping[str, Any]) -> dict[str, int]:
    from data.verification.verification_set import survey_set

    places = {name: verification_path(config, name) for name in config["val_targets"]}
    return {name: survey_set(place, name, config["val_data_part_num"]).pairs for name, place in places.items()}
