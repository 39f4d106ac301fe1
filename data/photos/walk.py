"""List a folder of people: one subfolder per person, with photos in it and in folders below it. Nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError, require
from common.wording import counted
from data.photos.photo import NOT_READABLE
from data.rejected import Rejection

HIDDEN_PREFIXES = (".", "@", "__")
"""Names that notebooks, systems and network drives leave behind: .ipynb_checkpoints, ._a.jpg, @eaDir, __MACOSX."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}

HIDDEN, LOOSE = "hidden name", "belongs to no person"


@dataclass
class PhotoFolder:
    """Files of a folder and of those below it.

    Attributes:
        root: the folder.
        photos: the files, sorted by path.
        left_out: files and folders with a hidden name or that cannot be read; paths are relative to ``root``.
    """

    root: Path
    photos: list[Path] = field(default_factory=list)
    left_out: list[Rejection] = field(default_factory=list)


@dataclass
class PeopleFolder:
    """Files of a folder of people.

    Attributes:
        root: the folder.
        people: the files of each person, both sorted by name; paths are below ``root``. Names that are not UTF-8 keep
            their bytes, as Python's surrogate escapes.
        empty: people without a file.
        left_out: files and folders that hold no photo of a person, with the reason; paths are relative to ``root``.
    """

    root: Path
    people: dict[str, list[Path]] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    left_out: list[Rejection] = field(default_factory=list)


def walk_people(root: str | Path, flag: str = "--input_dir") -> PeopleFolder:
    """List the people in ``root``, which ``flag`` names in messages.

    Raises:
        UserError: ``root`` is not a folder, cannot be read, or has no person with a file, or a person's name contains a
            line break.
    """
    root = Path(root)
    require(root.is_dir(), f"{flag} {root} is not a folder; give one with a subfolder of photos per person")
    found = PeopleFolder(root)
    for entry in _visible_entries(root, found):
        if not _is(entry.is_dir):
            found.left_out.append(Rejection(entry.name, LOOSE))
            continue
        photos = sorted(_files_below(Path(entry.path), found, frozenset()))
        if photos:
            found.people[entry.name] = photos
        else:
            found.empty.append(entry.name)
    if not found.people:
        loose = sum(rejection.reason == LOOSE for rejection in found.left_out)
        raise UserError(
            f"{flag} {root}: none of its {counted(len(found.empty), 'subfolder')} contains a photo"
            + (f", with {counted(loose, 'file')} beside them" if loose else "")
            + "; expected one subfolder of photos per person"
        )
    broken = [name for name in found.people if "\n" in name or "\r" in name]
    if broken:
        raise UserError(*(f"{root / name}: the name contains a line break; rename the folder" for name in broken))
    return found


def walk_photos(root: str | Path, flag: str = "--input") -> PhotoFolder:
    """List all files in ``root``, which ``flag`` names in messages, and below it.

    Raises:
        UserError: ``root`` is not a folder, cannot be read, or has no file.
    """
    root = Path(root)
    require(root.is_dir(), f"{flag} {root} is not a folder; give one with photos")
    found = PhotoFolder(root)
    found.photos = sorted(_files_below(root, found, frozenset()))
    require(bool(found.photos), f"{flag} {root} contains no photo")
    return found


def require_outside(output: str | Path, root: str | Path, flag: str) -> None:
    """Check that ``output``, which ``flag`` names in messages, is not below the folder of photos ``root``.

    Raises:
        UserError: it is: the next command would take what is written there for photos.
    """
    if Path(root).resolve() in Path(output).resolve().parents:
        raise UserError(f"{flag} {output} lies in the folder of photos, {root}; choose a place outside of it")


def printable(name: str | Path) -> str:
    """Return a name for messages; bytes that are not UTF-8, and control characters, appear as ``\\xb0``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace").translate(_CONTROLS)


def _visible_entries(folder: Path, found: PeopleFolder | PhotoFolder) -> list[os.DirEntry[str]]:
    """Return the entries sorted by name; those with hidden names, or a folder that cannot be read, are left out."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if folder == found.root:
            raise UserError(f"{folder} cannot be read ({error.strerror})") from error
        found.left_out.append(Rejection(_relative(folder, found), NOT_READABLE, error.strerror or ""))
        return []
    shown = []
    for entry in listed:
        if entry.name.startswith(HIDDEN_PREFIXES):
            found.left_out.append(Rejection(_relative(Path(entry.path), found), HIDDEN))
        else:
            shown.append(entry)
    return shown


def _files_below(folder: Path, found: PeopleFolder | PhotoFolder, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Yield the files in ``folder`` and below it. Links are followed, except to a folder ``above``."""
    try:
        status = os.stat(folder)
    except OSError as error:
        found.left_out.append(Rejection(_relative(folder, found), NOT_READABLE, error.strerror or ""))
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    for entry in _visible_entries(folder, found):
        path = Path(entry.path)
        if _is(entry.is_dir):
            yield from _files_below(path, found, above | {identity})
        elif _is(entry.is_file):
            yield path
        else:  # a broken link, a socket, ...
            found.left_out.append(Rejection(_relative(path, found), NOT_READABLE, "not a file"))


def _is(kind: Callable[[], bool]) -> bool:
    """Return the answer of an entry's ``is_dir`` or ``is_file``, which follow links; False for a link to itself."""
    try:
        return kind()
    except OSError:
        return False


def _relative(path: Path, found: PeopleFolder | PhotoFolder) -> str:
    return str(path.relative_to(found.root))
