"""Read and write ``property``, the file beside a ``.rec`` that states the number of identities and the images' size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import atomic_file
from common.text_files import read_text

PROPERTY_FILE = "property"
_EXPECTED = "expected 'num_classes,height,width', for example '85742,112,112'"
_FIELD = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Property:
    """First line of a ``property`` file: number of identities and the images' size in pixels."""

    num_classes: int
    height: int
    width: int

    def __bytes__(self) -> bytes:
        return f"{self.num_classes},{self.height},{self.width}\n".encode()


def read_property(directory: str | Path) -> Property:
    """Read ``property``: three whole numbers above 0 in its first line that is not blank.

    Blanks around the numbers, any line ends and a byte order mark are accepted. The further lines of shuffled variants
    are ignored.

    Raises:
        UserError: the file cannot be read, is not text, or its first line is not ``num_classes,height,width``.
    """
    path = Path(directory) / PROPERTY_FILE
    text = read_text(path)
    line = text.strip().split("\n", 1)[0].strip()
    if not line:
        raise UserError(f"{path}: empty, {_EXPECTED}")
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 3 or not all(_FIELD.fullmatch(field) and int(field) for field in fields):
        raise UserError(f"{path}: found '{line:.60}', {_EXPECTED}; correct or remove the file")
    return Property(*map(int, fields))


def write_property(directory: str | Path, value: Property) -> None:
    """Write ``property``."""
    with atomic_file(Path(directory) / PROPERTY_FILE) as handle:
        handle.write(bytes(value))
