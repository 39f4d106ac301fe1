"""Recognise the kind of a dataset."""

from __future__ import annotations

from pathlib import Path

from common.errors import UserError
from data.listing.base import Listing, require_images
from data.listing.folder import FolderListing
from data.listing.ofrecord import PartListing
from data.listing.recordio import RecordListing
from data.listing.verification import BinListing
from data.recordio.dataset import RECORDS_FILE

EXPECTED = (
    "a folder with train.rec, with OFRecord parts (part-00000, ...) or with a subfolder of photos per person, "
    "a .rec file, or a verification .bin"
)
_PARTS_FOLDER = "ofrecord/train"


def open_listing(path: str | Path) -> Listing:
    """List the images of a set of any kind.

    Raises:
        UserError: ``path`` is not a dataset, it has no images, or it cannot be read.
    """
    path = Path(path)
    return require_images(_open(path))


def _open(path: Path) -> Listing:
    if path.is_file():
        if path.suffix == ".bin":
            return BinListing(path)
        if path.suffix == ".rec":
            return RecordListing(path, path)
    elif path.is_dir():
        if (path / RECORDS_FILE).is_file():
            return RecordListing(path / RECORDS_FILE, path)
        others = sorted(each.name for each in path.glob("*.rec"))
        if others:
            raise UserError(
                f"{path} has no {RECORDS_FILE}, but {', '.join(others)}; give the file in place of the folder"
            )
        if any(path.glob("part-*")):
            return PartListing(path)
        if any((path / _PARTS_FOLDER).glob("part-*")):
            return PartListing(path / _PARTS_FOLDER)
        inner = sorted({each.parent.name for pattern in ("*/part-*", "*/*.rec") for each in path.glob(pattern)})
        if inner:
            raise UserError(f"{path} holds datasets in {', '.join(inner)}; give one of these folders")
        if any(entry.is_dir() for entry in path.iterdir()):
            return FolderListing(path)
    found = "is not there" if not path.exists() else "is not a dataset"
    raise UserError(f"{path} {found}; expected {EXPECTED}")
