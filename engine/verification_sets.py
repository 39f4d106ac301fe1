"""Check the verification sets of a run before its first step. Free of OneFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError, collecting
from evaluation.verification import check_folds
from settings.places import check_sets, verification_path

if TYPE_CHECKING:
    from data.verification.verification_set import SetSurvey

_SHOWN = 3


def check_evaluation(config: Mapping[str, Any]) -> list[str]:
    """Check the sets of the verification and of the protocols.

    Returns:
        lines about them.

    Raises:
        UserError: files are missing or damaged; the message has a line for each.
    """
    notices, problems = [], []
    if config["val_targets"]:
        with collecting(problems):
            notices += check_verification(config)
    if config["val_protocols"]:
        from engine.protocols.check import check_protocols  # here, because other runs need nothing of it

        with collecting(problems):
            notices += check_protocols(config)
    if problems:
        raise UserError(*dict.fromkeys(problems))
    return notices


def check_verification(config: Mapping[str, Any]) -> list[str]:
    """Check that every set of ``val_targets`` exists, can be read and has a pair for each fold.

    The images are not decoded.

    Returns:
        lines about sets whose results mean something else than expected.

    Raises:
        UserError: a set is missing, damaged or too small; the message has a line for each.
    """
    from data.verification.verification_set import survey_set  # loads OpenCV, which not every run needs

    check_sets(config)
    messages: list[str] = []
    notices: list[str] = []
    for name in config["val_targets"]:
        path = verification_path(config, name)
        try:
            found = survey_set(path, name, config["val_data_part_num"])
            check_folds(path, found.pairs, config["nrof_folds"])
        except UserError as error:
            messages += str(error).splitlines()
        else:
            notices += _describe(path, found, config["image_size"])
    if messages:
        raise UserError(*messages)
    return notices


def _describe(path: Path, found: SetSurvey, image_size: int) -> list[str]:
    """Return lines about a set of other image sizes, or whose pairs are all of one kind."""
    lines = []
    others = [height for height, width in found.shapes if height == width != image_size]  # else an error later
    if others:
        sizes = ", ".join(f"{size}x{size}" for size in others[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
        lines.append(
            f"{path}: images of {sizes} pixels are scaled to {image_size}x{image_size}, as InsightFace does; "
            "tools/dataset_convert/pairs_2_bin.py --align 1 makes a set of photos that are not aligned"
        )
    if found.same in (0, found.pairs):
        missing = "of two people" if found.same else "of one person"
        lines.append(f"{path}: none of the {found.pairs} pairs is {missing}: its accuracy and thresholds mean nothing")
    return lines
