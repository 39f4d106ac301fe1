"""List the records of a folder of OFRecord parts."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import override

from common.errors import UserError
from common.wording import counted
from data.listing.base import Found, Listing, Request, read_names
from data.ofrecord.records import (
    LENGTH,
    RecordError,
    decode_train_record,
    decode_verification_record,
    list_parts,
    read_dataset_info,
)
from data.rejected import Rejection
from data.sources.part_reader import PartReader


@dataclass(frozen=True)
class _PartRequest(Request):
    reader: PartReader
    pieces: list[tuple[int, int, int]]
    is_verification: bool

    @override
    def read(self) -> Iterator[Found]:
        for payload in self.reader.read(self.pieces):
            try:
                if self.is_verification:
                    yield Found(decode_verification_record(payload)[0])
                    continue
                encoded, label = decode_train_record(payload)
            except RecordError as error:
                yield Found(b"", problem=str(error))
                continue
            is_class = 0 <= label < 1 << 31
            yield Found(encoded, label) if is_class else Found(b"", problem=f"label {label} is not a class number")


class PartListing(Listing):
    """The records of OFRecord parts, in the order of the parts.

    Attributes:
        parts: the files.
        starts: int64 [P + 1], number of the first record of each part, and N.
        offsets: int64 [N], byte offset of each payload in its part.
        lengths: int32 [N], bytes of each payload.
    """

    kind = "ofrecord"

    def __init__(self, folder: Path) -> None:
        """List the records; after damage the rest of the part cannot be found, and is listed as damage.

        Raises:
            UserError: there are no parts, or one cannot be read.
        """
        super().__init__(folder)
        self.parts = list_parts(folder)
        self.names = read_names(folder)
        info = read_dataset_info(folder) or {}
        self.num_classes, self.image_size = info.get("num_classes"), info.get("image_size")
        offsets, lengths, counts = [], [], []
        for part in self.parts:
            found = _scan_lengths(part, self.damage)
            offsets.append(found[:, 0])
            lengths.append(found[:, 1].astype(np.int32))
            counts.append(len(found))
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.offsets, self.lengths = np.concatenate(offsets), np.concatenate(lengths)
        self._reader = PartReader(self.parts)
        if len(self.offsets):
            self.issame = self._read_pairs()
        if self.issame is not None and len(self.offsets) % 2:
            self.problems.append(
                f"{folder} holds {counted(len(self.offsets), 'image')}, expected an even number (two per pair)"
            )

    def _read_pairs(self) -> np.ndarray | None:
        """Return the flags of a verification set, None for a training set."""
        try:
            decode_verification_record(self._payload(0))
        except RecordError:
            return None
        flags = []
        for number in range(0, len(self) - 1, 2):
            try:
                flags.append(decode_verification_record(self._payload(number))[1])
            except RecordError:
                flags.append(False)
        return np.array(flags, bool)

    def _payload(self, number: int) -> bytes:
        return self._reader.read(self._pieces(np.array([number])))[0]

    def _pieces(self, numbers: np.ndarray) -> list[tuple[int, int, int]]:
        parts = np.searchsorted(self.starts, numbers, side="right") - 1
        columns = (parts, self.offsets[numbers], self.lengths[numbers])
        return list(zip(*(column.tolist() for column in columns), strict=True))

    @override
    def __len__(self) -> int:
        return len(self.offsets)

    @override
    def request(self, numbers: np.ndarray) -> Request:
        return _PartRequest(self._reader, self._pieces(numbers), self.issame is not None)

    @override
    def describe(self, number: int) -> str:
        part, offset, _ = self._pieces(np.array([number]))[0]
        return f"{self.parts[part].name}: record at byte {offset - LENGTH.size}"


def _scan_lengths(part: Path, damage: list[Rejection]) -> np.ndarray:
    """Return (offset, length) of every payload, int64 [M, 2]."""
    rows = array("q")
    try:
        handle = os.open(part, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{part} cannot be read: {error.strerror}") from error
    try:
        size, offset = os.fstat(handle).st_size, 0
        while offset < size:
            field = os.pread(handle, LENGTH.size, offset)
            length = LENGTH.unpack(field)[0] if len(field) == LENGTH.size else 0
            if length <= 0 or offset + LENGTH.size + length > size:
                details = f"bytes {offset} to {size} hold no record"
                damage.append(Rejection(part.name, "damaged file", details))
                break
            rows.extend((offset + LENGTH.size, length))
            offset += LENGTH.size + length
    finally:
        os.close(handle)
    return np.array(rows).reshape(-1, 2)
