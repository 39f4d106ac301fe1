"""The stored index: kept elsewhere where the data cannot be written, built by one process while others wait."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from common.errors import UserError
from common.files import atomic_file
from data.ofrecord.records import encode_train_record, write_record
from data.sources.index_file import IndexFile
from data.sources.record_index import RecordIndex
from data.sources.record_scan import RECORD

ROOT = Path(__file__).resolve().parents[3]
RECORDS = np.array([(0, 32, 7, 0), (40, 32, 9, 4), (88, 0, 60, 2)], RECORD)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "set" / "faces.rec"
    path.parent.mkdir()
    path.write_bytes(b"content")
    return path


def open_index(data: Path, builds: list[str]) -> RecordIndex:
    def build() -> list[np.ndarray]:
        builds.append(threading.current_thread().name)
        return [RECORDS]

    return RecordIndex.open([data], IndexFile(data.with_name(".index"), [data]), build)


def test_it_is_built_once(data: Path) -> None:
    builds: list[str] = []
    for _ in range(2):
        index = open_index(data, builds)
        assert index.records.tobytes() == RECORDS.tobytes()
        assert (index.num_classes, index.count_people()) == (5, 3)
    assert len(builds) == 1
    data.write_bytes(b"another content")
    open_index(data, builds)
    assert len(builds) == 2


@pytest.mark.parametrize("place", [-20 + 12, -1, -41, 60])
def test_an_index_that_was_damaged_is_built_again(data: Path, place: int) -> None:
    builds: list[str] = []
    open_index(data, builds)
    stored = data.with_name(".index")
    content = bytearray(stored.read_bytes())
    content[place] ^= 0x40
    stored.write_bytes(content)
    assert open_index(data, builds).records.tobytes() == RECORDS.tobytes()
    open_index(data, builds)
    assert len(builds) == 2


def test_a_folder_that_cannot_be_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @contextmanager
    def write_elsewhere(path: Path) -> Iterator[IO]:
        if path.parent == data.parent:
            raise UserError(f"{path} cannot be written (Read-only file system); choose another path")
        with atomic_file(path) as handle:
            yield handle

    monkeypatch.setattr("data.sources.index_file.atomic_file", write_elsewhere)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    builds: list[str] = []
    for _ in range(2):
        assert len(open_index(data, builds)) == 3
    assert len(builds) == 1 and list(data.parent.iterdir()) == [data]
    (kept,) = (tmp_path / "cache" / "insightface_oneflow").iterdir()
    assert kept.name.startswith("set-")
    monkeypatch.setenv("XDG_CACHE_HOME", "nowhere")  # not a place: then it is not kept, and that is said
    with caplog.at_level(logging.WARNING):
        assert len(open_index(data, builds)) == 3
    assert len(builds) == 2 and "is not kept, so each start builds it again: " in caplog.text


def test_a_script_without_a_main_guard_does_not_wait_for_itself(tmp_path: Path) -> None:
    with open(tmp_path / "part-00000", "wb") as handle:
        for label in range(20):
            write_record(handle, encode_train_record(b"image", label))
    (tmp_path / "script.py").write_text(
        "import sys\nsys.path.insert(0, sys.argv[1])\nimport data.sources.record_scan\n"
        "data.sources.record_scan._BYTES_PER_PROCESS = 9\ndata.sources.record_scan.available_cpus = lambda: 2\n"
        "data.sources.record_scan.scan_files.__defaults__ = (300,)\n"
        "from data.sources.ofrecord import OFRecordSource\nOFRecordSource(sys.argv[2])\n"
    )
    command = [sys.executable, str(tmp_path / "script.py"), str(ROOT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "put the script's code below a line `if __name__ ==" in done.stderr


def test_others_wait_for_the_one_that_builds(data: Path, capfd: pytest.CaptureFixture) -> None:
    builds, results = [], []
    started, go_on = threading.Event(), threading.Event()

    def build_slowly() -> list[np.ndarray]:
        builds.append("slow")
        started.set()
        assert go_on.wait(20)
        return [RECORDS]

    def open_slowly() -> None:
        store = IndexFile(data.with_name(".index"), [data])
        results.append(RecordIndex.open([data], store, build_slowly))

    first = threading.Thread(target=open_slowly)
    first.start()
    assert started.wait(20)
    second = threading.Thread(target=lambda: results.append(open_index(data, builds)))
    second.start()
    while "waiting for another process" not in capfd.readouterr().err:
        assert second.is_alive()
    go_on.set()
    first.join()
    second.join()
    assert builds == ["slow"] and [len(index) for index in results] == [3, 3]
