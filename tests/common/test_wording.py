from __future__ import annotations

import numpy as np
import pytest

from common.wording import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ("image",), "1 image"),
        (0, ("image",), "0 images"),
        (2, ("class",), "2 classes"),
        (np.int64(3), ("identity",), "3 identities"),
        (1, ("person", "people"), "1 person"),
        (40, ("person", "people"), "40 people"),
    ],
)
def test_a_number_is_said_with_what_it_counts(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text
