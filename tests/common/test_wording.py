from __future__ import annotations

import numpy as np
import pytest

from common.wording import counted, sized


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ("image",), "1 image"),
        (0, ("image",), "0 images"),
        (2, ("class",), "2 classes"),
        (np.int64(3), ("identity",), "3 identities"),
        (9, ("array",), "9 arrays"),
        (0, ("batch",), "0 batches"),
        (1, ("person", "people"), "1 person"),
        (40, ("person", "people"), "40 people"),
    ],
)
def test_a_number_is_said_with_what_it_counts(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text


def test_small_sizes_are_not_zero() -> None:
    assert [sized(count) for count in (20_000, 99 * 10**6, 3 * 10**9)] == ["0.02 MB", "99.00 MB", "3.00 GB"]
