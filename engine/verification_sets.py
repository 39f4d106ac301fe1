"""Check the verification sets of a run before its first step. Free of OneFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import UserError
from evaluation.verification import check_folds
from settings.places import check_sets, verification_path


def check_verification(config: Mapping[str, Any]) -> None:
    """Check that every set of ``val_targets`` exists, can be read and has a pair for each fold.

    The images are not decoded.

    Raises:
        UserError: a set is missing, damaged or too small; the message has a line for each.
    """
    from data.verification.verification_set import (
        count_pairs,  # loads OpenCV, which runs without verification do not need
    )

    check_sets(config)
    messages: list[str] = []
    for name in config["val_targets"]:
        try:
            path = verification_path(config, name)
            pairs = count_pairs(path, name, config["val_data_part_num"])
            check_folds(path, pairs, config["nrof_folds"])
        except UserError as error:
            messages += str(error).splitlines()
    if messages:
        raise UserError(*messages)
