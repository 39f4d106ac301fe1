from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from unittest.mock import Mock

import pytest

from common.errors import UserError
from data.sources import part_reader
from data.sources.part_reader import PartReader


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"part-{number}" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(range(10 * number, 10 * number + 10)))
    return paths


def test_pieces_of_several_parts(parts: list[Path]) -> None:
    reader = PartReader(parts)
    pieces = [(3, 2, 4), (0, 0, 10), (3, 2, 4), (1, 8, 5), (2, 20, 1)]
    expected = [bytes(range(32, 36)), bytes(range(10)), bytes(range(32, 36)), bytes([18, 19]), b""]
    assert reader.read(pieces) == expected
    assert pickle.loads(pickle.dumps(reader)).read(pieces) == expected


def test_what_cannot_be_read_is_named(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    parts[3].unlink()
    reader = PartReader(parts)
    reader.read([(2, 0, 1)])
    with pytest.raises(UserError, match=f"^{parts[3]} cannot be read: No such file or directory$"):
        reader.read([(2, 0, 1), (3, 0, 1)])
    monkeypatch.setattr(os, "pread", Mock(side_effect=OSError(errno.EIO, os.strerror(errno.EIO))))
    with pytest.raises(UserError, match=f"^{parts[0].parent} cannot be read: Input/output error$"):
        reader.read([(2, 0, 1)])


def open_files(parts: list[Path]) -> int:
    held = []
    for handle in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{handle}"):
            held.append(os.readlink(f"/proc/self/fd/{handle}"))
    return sum(str(part) in held for part in parts)


def test_few_files_are_open_at_once_and_none_at_the_end(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_reader, "_MAX_OPEN_PARTS", 2)
    reader = PartReader(parts)
    for _ in range(2):
        assert reader.read([(part, 0, 1) for part in range(5)]) == [bytes([10 * part]) for part in range(5)]
        assert open_files(parts) == 2
    del reader
    assert open_files(parts) == 0


def test_hints_are_given_while_reading_is_slow(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    hints, seconds = [], [0.0]
    monkeypatch.setattr(part_reader, "_HINTED_BATCHES", 3)
    monkeypatch.setattr(
        os, "posix_fadvise", lambda handle, begin, length, advice: hints.append((begin, length, advice))
    )
    monkeypatch.setattr(part_reader.time, "perf_counter", lambda: seconds[0])
    read = os.pread

    def pread(handle: int, length: int, begin: int) -> bytes:
        seconds[0] += pace
        return read(handle, length, begin)

    monkeypatch.setattr(os, "pread", pread)
    reader = PartReader(parts)

    def count_hints(batches: int) -> list[int]:
        counts = []
        for _ in range(batches):
            hints.clear()
            assert reader.read([(0, 2, 3), (1, 4, 5)]) == [bytes([2, 3, 4]), bytes(range(14, 19))]
            assert hints in ([], [(2, 3, os.POSIX_FADV_WILLNEED), (4, 5, os.POSIX_FADV_WILLNEED)])
            counts.append(len(hints))
        return counts

    pace = 3e-6
    assert count_hints(5) == [2, 2, 2, 0, 0]  # hints are given until reads prove fast
    pace = 100e-6
    assert count_hints(6) == [0, 2, 2, 2, 2, 2]
    pace = 3e-6
    assert count_hints(5) == [2, 2, 2, 0, 0]
