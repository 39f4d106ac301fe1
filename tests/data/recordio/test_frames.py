from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from common.progress import progress
from data.recordio import frames
from data.recordio.records import ImageHeader, RecordWriter, pack_record
from data.recordio.scan import scan_records


@pytest.fixture(autouse=True)
def short_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_APART", 1024)
    monkeypatch.setattr(frames, "_AT_ONCE", 4)


def write(path: Path) -> list[int]:
    """300 records, one of which is longer than several walks; return their first bytes."""
    generator = np.random.Generator(np.random.Philox(3))
    sizes = [*generator.integers(0, 700, 200), 9000, *generator.integers(0, 700, 99)]
    with open(path, "wb") as handle:
        writer = RecordWriter(handle)
        return [writer.write(pack_record(ImageHeader((1.0,)), b"\1" * int(size))) for size in sizes]


def list_frames(path: Path) -> list[int] | None:
    with open(path, "rb") as handle, progress(total=1) as bar:
        found = frames.list_sound_frames(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ), bar)
    return None if found is None else (4 * found).tolist()


def test_all_frames_are_found(tmp_path: Path) -> None:
    offsets = write(tmp_path / "a.rec")
    assert list_frames(tmp_path / "a.rec") == offsets


@pytest.mark.parametrize("place", [0, 57, 199, 200, 299])
@pytest.mark.parametrize("word", [0, 1])
@pytest.mark.parametrize("change", [1, 8, 1 << 12])
def test_damage_is_left_to_the_careful_walk(tmp_path: Path, place: int, word: int, change: int) -> None:
    """Only a file that it finds sound is listed here: with the same records."""
    offsets = write(tmp_path / "a.rec")
    data = bytearray((tmp_path / "a.rec").read_bytes())
    begin = offsets[place] + 4 * word
    data[begin : begin + 4] = (int.from_bytes(data[begin : begin + 4], "little") ^ change).to_bytes(4, "little")
    (tmp_path / "a.rec").write_bytes(data)
    found, table = list_frames(tmp_path / "a.rec"), scan_records(tmp_path / "a.rec")
    if found is None:
        assert table.damage
    else:
        assert word == 1 and change == 1 and not table.damage  # the padding takes the change up
        assert found == table.offsets.tolist()


@pytest.mark.parametrize("cut", [1, 4, 40, 5000])
def test_a_file_that_was_cut(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "a.rec")
    data = (tmp_path / "a.rec").read_bytes()
    (tmp_path / "a.rec").write_bytes(data[:-cut])
    assert list_frames(tmp_path / "a.rec") is None


def test_a_length_that_ends_with_the_file(tmp_path: Path) -> None:
    """A damaged length may swallow the last record."""
    offsets = write(tmp_path / "a.rec")
    data = bytearray((tmp_path / "a.rec").read_bytes())
    begin = offsets[298] + 4
    data[begin : begin + 4] = (len(data) - begin - 5).to_bytes(4, "little")
    (tmp_path / "a.rec").write_bytes(data)
    assert list_frames(tmp_path / "a.rec") is None
    assert [(place.begin, place.end) for place in scan_records(tmp_path / "a.rec").damage] == [tuple(offsets[298:300])]
