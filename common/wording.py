"""Words of messages."""

from __future__ import annotations


def sized(count: int) -> str:
    """Return a number of bytes in GB, or in MB below a tenth of a GB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts, such as ``1 image``, ``0 images`` or ``2 classes``.

    Args:
        number: how many.
        one: the noun for one of them.
        many: the noun for any other number, where it is not ``one`` with an s (or es, or ies).
    """
    if number == 1:
        return f"{number} {one}"
    return f"{number} {many or _several(one)}"


def _several(one: str) -> str:
    if one.endswith("y") and one[-2] not in "aeiou":
        return f"{one[:-1]}ies"
    return one + ("es" if one.endswith(("s", "x", "ch", "sh")) else "s")
