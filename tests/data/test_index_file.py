"""The stored index: kept elsewhere where the data cannot be written, built by one process while others wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from common.errors import UserError
from common.files import atomic_file
from data.index_file import IndexFile
from data.record_index import RecordIndex
from data.record_scan import RECORD

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


def test_a_folder_that_cannot_be_written(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def write_elsewhere(path: Path) -> Iterator[IO]:
        if path.parent == data.parent:
            raise UserError(f"{path} cannot be written (Read-only file system); choose another path")
        with atomic_file(path) as handle:
            yield handle

    monkeypatch.setattr("data.index_file.atomic_file", write_elsewhere)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    builds: list[str] = []
    for _ in range(2):
        assert len(open_index(data, builds)) == 3
    assert len(builds) == 1 and list(data.parent.iterdir()) == [data]
    (kept,) = (tmp_path / "cache" / "insightface_oneflow").iterdir()
    assert kept.name.startswith("set-")


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
