"""Damage of zip archives, such as .npz and .pth."""

from __future__ import annotations

from pathlib import Path

_ENTRY, _FLAGS, _NAME = b"PK\x01\x02", 8, 46  # of the directory at the end; offsets in an entry


def mark_encrypted(path: Path, part: str) -> None:
    """Set the bit that says that a part is encrypted."""
    content = bytearray(path.read_bytes())
    entry = -1
    while not content[entry + _NAME :].startswith(part.encode()):
        entry = content.index(_ENTRY, entry + 1)
    content[entry + _FLAGS] |= 1
    path.write_bytes(content)
