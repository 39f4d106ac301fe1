from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.image import encode_jpeg
from data.loading.augment import Augmentation
from data.loading.batches import Batch
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.ofrecord.records import encode_train_record, write_record
from data.sources.ofrecord import OFRecordSource
from data.sources.synthetic import SyntheticSource

ROOT = Path(__file__).resolve().parents[3]
PLAIN = Augmentation(mirror=False)
EVERYTHING = Augmentation(shift=2, zoom=0.1, crop=0.5, low_res=0.5, photometric=0.5, color=2, cutoff=6)
SOURCE = SyntheticSource(23, 5, image_size=16, seed=1)


def take(
    count: int,
    source: object = SOURCE,
    batch_size: int = 4,
    ranks: tuple[int, int] = (0, 1),
    start_step: int = 0,
    **options: object,
) -> list[Batch]:
    with BatchLoader(source, DataOptions(batch_size, **options), *ranks, start_step) as loader:
        return [keep(next(loader)) for _ in range(count)]


def keep(batch: Batch) -> Batch:
    return replace(batch, images=batch.images.copy())


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.step, a.epoch) == (b.step, b.epoch)
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)


def image_numbers(batches: list[Batch]) -> list[int]:
    known = {SOURCE.read(i)[0].tobytes(): i for i in range(len(SOURCE))}
    return [known[image.tobytes()] for batch in batches for image in batch.images]


def test_batches_hold_every_image_once_an_epoch() -> None:
    batches = take(23, augmentation=PLAIN)  # 92 images: 4 epochs
    numbers = image_numbers(batches)
    for epoch in range(4):
        assert sorted(numbers[23 * epoch : 23 * epoch + 23]) == list(range(23))
    assert [batch.step for batch in batches] == list(range(23))
    assert [batch.epoch for batch in batches] == [4 * step // 23 for step in range(23)]
    assert np.concatenate([batch.labels for batch in batches]).tolist() == [number % 5 for number in numbers]
    assert batches[0].labels.dtype == np.int32 and batches[0].images.shape == (4, 16, 16, 3)


def test_augmentation_follows_the_draws() -> None:
    plain, changed = take(12, augmentation=PLAIN, seed=9), take(12, augmentation=EVERYTHING, seed=9)
    numbers = np.array(image_numbers(plain))
    draws = EVERYTHING.draw(9, np.arange(48) // 23, numbers)
    assert 0 < draws[:, 0].sum() < 48
    images = np.concatenate([batch.images for batch in changed])
    change = EVERYTHING.make_change()
    for number, draw, image in zip(numbers, draws, images, strict=True):
        pixels = SOURCE.read(int(number))[0]
        np.testing.assert_array_equal(image, change(pixels, draw))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_same_global_batch(world_size: int) -> None:
    whole = take(8, batch_size=8)
    shares = [take(8, batch_size=8, ranks=(rank, world_size)) for rank in range(world_size)]
    for step, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([share[step].images for share in shares]), batch.images)
        np.testing.assert_array_equal(np.concatenate([share[step].labels for share in shares]), batch.labels)
        assert {share[step].epoch for share in shares} == {batch.epoch}


@pytest.mark.parametrize("num_workers", [1, 3])
def test_workers_change_nothing(num_workers: int) -> None:
    alone = take(15, augmentation=EVERYTHING)
    assert_same(take(15, augmentation=EVERYTHING, num_workers=num_workers), alone)


def test_ranks_and_the_start_change_no_augmentation() -> None:
    whole = take(6, batch_size=8, augmentation=EVERYTHING)
    for rank in range(2):
        late = take(4, batch_size=8, ranks=(rank, 2), start_step=2, augmentation=EVERYTHING)
        for share, batch in zip(late, whole[2:], strict=True):
            np.testing.assert_array_equal(share.images, batch.images[4 * rank : 4 * rank + 4])


@pytest.mark.parametrize(("start", "num_workers"), [(1, 0), (6, 0), (7, 2)])
def test_a_resumed_run_gets_the_batches_of_an_uninterrupted_one(start: int, num_workers: int) -> None:
    assert_same(take(14 - start, start_step=start, num_workers=num_workers), take(14)[start:])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_images_stay_until_two_more_batches_are_taken(num_workers: int) -> None:
    with BatchLoader(SOURCE, DataOptions(4, num_workers)) as loader:
        last = kept = None
        for _ in range(12):
            batch = next(loader)
            time.sleep(0.02)  # lets the workers fill all buffers that they consider free
            if last is not None:
                np.testing.assert_array_equal(last.images, kept.images)
                np.testing.assert_array_equal(last.labels, kept.labels)
            last, kept = batch, keep(batch)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_handed_over_without_a_copy(num_workers: int) -> None:
    with BatchLoader(SOURCE, DataOptions(4, num_workers)) as loader:
        batches = [next(loader) for _ in range(2 * num_workers + 4)]
    addresses = [batch.images.ctypes.data for batch in batches]
    assert len(set(addresses)) == 2 * num_workers + 2 and addresses[0] == addresses[2 * num_workers + 2]
    assert all(batch.images.flags.c_contiguous and batch.images.flags.writeable for batch in batches)


def test_images_of_a_closed_loader_stay() -> None:
    with BatchLoader(SOURCE, DataOptions(4, 1)) as loader:
        batch = next(loader)
        kept = keep(batch)
    del loader
    np.testing.assert_array_equal(batch.images, kept.images)


class SlowSource(SyntheticSource):
    """Takes 0.1 s for a batch."""

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        time.sleep(0.1)
        return super().fetch(locations, places)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_waiting_is_what_next_takes(num_workers: int) -> None:
    with BatchLoader(SlowSource(23, 5, 16), DataOptions(4, num_workers)) as loader:
        assert loader.wait_seconds == 0
        waits = []
        for _ in range(12):  # more than can be ready, so that the worker sets the pace
            before, start = loader.wait_seconds, time.perf_counter()
            next(loader)
            waits.append((loader.wait_seconds - before, time.perf_counter() - start))
        assert all(waited <= took for waited, took in waits)
        assert any(waited > 0.9 * took > 0.05 for waited, took in waits[6:])
        before = loader.wait_seconds
        time.sleep(0.5)
        assert loader.wait_seconds == before
        next(loader)
        waited = loader.wait_seconds - before
        assert waited >= 0.1 if num_workers == 0 else waited < 0.09  # read while we slept


def test_numbers_of_steps() -> None:
    with BatchLoader(SOURCE, DataOptions(4)) as loader:
        assert loader.steps_per_epoch == 6
    with pytest.raises(UserError, match="6 must be a multiple of the 4 ranks"):
        BatchLoader(SOURCE, DataOptions(6), world_size=4)


def test_a_global_batch_may_exceed_the_dataset() -> None:
    numbers = image_numbers(take(1, batch_size=50, augmentation=PLAIN))
    assert sorted(numbers[:23]) == sorted(numbers[23:46]) == list(range(23))


@pytest.mark.parametrize("num_workers", [1, 3])
def test_files_of_all_kinds_come_alike_from_any_number_of_workers(tmp_path: Path, num_workers: int) -> None:
    faces = [SyntheticSource(30, 5).read(i)[0] for i in range(30)]
    for part in range(3):
        with open(tmp_path / f"part-{part:05d}", "wb") as handle:
            for number, face in enumerate(faces[part::3]):
                png = cv2.imencode(".png", face)[1].tobytes()
                kinds = (encode_jpeg(face), png, encode_jpeg(face)[:-2], encode_jpeg(face)[:-900])
                write_record(handle, encode_train_record(kinds[number % len(kinds)], number % 5))
    source = OFRecordSource(tmp_path, 5)
    augmentation = Augmentation(mirror=True, shift=2, zoom=0.1)
    alone = take(9, source, 8, augmentation=augmentation)
    assert_same(take(9, source, 8, augmentation=augmentation, num_workers=num_workers), alone)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_corrupt_image_names_part_and_offset(tmp_path: Path, num_workers: int) -> None:
    with open(tmp_path / "part-00000", "wb") as handle:
        write_record(handle, encode_train_record(encode_jpeg(np.zeros((112, 112, 3), np.uint8)), 0))
        offset = handle.tell()
        write_record(handle, encode_train_record(b"\xff\xd8 broken", 0))
    with (
        BatchLoader(OFRecordSource(tmp_path, 1), DataOptions(2, num_workers)) as loader,
        pytest.raises(UserError, match=rf"part-00000: record at byte {offset}: .*cannot be decoded"),
    ):
        next(loader)


class FaultySource(SyntheticSource):
    """Fails with a programming error, or kills its process, at image 7."""

    def __init__(self, deadly: bool) -> None:
        super().__init__(23, 5, image_size=16)
        self.deadly = deadly

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        if 7 in locations:
            if self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("seven")
        return super().fetch(locations, places)


def test_other_errors_show_the_workers_traceback() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: seven"):
        take(6, FaultySource(deadly=False), num_workers=2)


def test_a_killed_worker_is_noticed() -> None:
    with pytest.raises(UserError, match="a data worker ended .killed by SIGKILL."):
        take(6, FaultySource(deadly=True), num_workers=2)


PARENT = """
import os, signal, sys, time
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.sources.synthetic import SyntheticSource
loader = BatchLoader(SyntheticSource(23, 5, 16), DataOptions(4, 2))
next(loader)
print(*(process.pid for process in loader._reader._team._processes), flush=True)
{end}
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("end", "code"), [("os.kill(os.getpid(), signal.SIGKILL)", -9), ("sys.exit(3)", 3), ("os._exit(4)", 4)]
)
def test_workers_and_memory_go_with_the_parent(end: str, code: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PARENT.format(end=end)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == code and result.stderr == ""
    workers = [int(pid) for pid in result.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers))


def test_ctrl_c_is_for_the_parent_alone() -> None:
    end = "os.killpg(0, signal.SIGINT)\ntime.sleep(0.2)"
    result = subprocess.run(
        [sys.executable, "-c", PARENT.format(end=end)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    assert result.stderr.count("Traceback") == 1 and result.stderr.rstrip().endswith("KeyboardInterrupt")


class CuriousSource(SyntheticSource):
    """Encodes in its pixels how many of the packages forbidden in workers are imported."""

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        foreign = {"oneflow", "mxnet", "ops", "engine"} & set(sys.modules)
        return [np.full((16, 16, 3), len(foreign), np.uint8) for _ in locations]


def test_workers_import_no_framework() -> None:
    assert not take(1, CuriousSource(23, 5, 16), num_workers=1)[0].images.any()


def test_workers_do_not_run_the_main_script_again(tmp_path: Path) -> None:
    script = tmp_path / "main_script.py"
    script.write_text("print('started')\n" + PARENT.format(end=""))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and result.stdout.count("started") == 1
