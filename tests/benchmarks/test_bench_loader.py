from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import bench_loader
from benchmarks.loaders import LoaderRow, PinnedContestant, list_contestants, make_rows, row_cells
from benchmarks.peers.decoder_worker import Decoder
from benchmarks.peers.delivery import child_processes, processor_seconds
from benchmarks.rounds import Measured
from benchmarks.sample_images import CLASSES, write_samples
from benchmarks.worker import ROOT, WorkerError
from common.errors import UserError
from data.image import decode_image
from data.ofrecord.records import decode_train_record, list_parts, read_part
from data.recordio.records import RecordReader, read_index, unpack_record


def test_both_formats_hold_the_same_images(tmp_path: Path) -> None:
    files = write_samples(tmp_path, 90)
    parts = list_parts(files.parts, 4)
    converted = [decode_train_record(payload) for part in parts for _, payload in read_part(part)]
    keys, offsets = read_index(tmp_path / "train.idx")
    with RecordReader(files.records) as reader:
        records = [unpack_record(reader.read(offset)) for offset in offsets.tolist()]
    originals = [(encoded, int(header.labels[0])) for header, encoded in records]
    assert keys.tolist() == list(range(90)) and sorted(converted) == sorted(originals)
    assert len({encoded for encoded, _ in originals}) == 90
    assert [label for _, label in originals] == [index % CLASSES for index in range(90)]
    for encoded, _ in originals:
        assert decode_image(encoded).std() > 5  # a picture of the right size
    assert files.mean_bytes == pytest.approx(np.mean([len(encoded) for encoded, _ in originals]))


def measured(name: str, cores: int, times: list[float], mean: float = 100.0, failure: str = "") -> Measured:
    times = [
        seconds for cpu in times for seconds in (2 * cpu, cpu)
    ]  # the machine is busy: the clock runs twice as fast
    return Measured(PinnedContestant(name, "none", "uint8", cores=cores), f"{name} {cores}", times, [mean], failure)


def test_ratios_are_taken_within_rounds_and_cores() -> None:
    rows = make_rows(
        [
            measured("decoder", 1, [1.0, 2.0, 1.0]),
            measured("decoder", 2, [0.5, 0.5, 0.5]),
            measured("ours", 1, [1.25, 2.5, 1.25]),
            measured("ours", 1, [2.0, 4.0, 2.0]),
            measured("mxnet", 1, [2.5, 10.0, 5.0]),
            measured("mxnet", 2, [1.0, 1.0, 2.0]),
            measured("oneflow", 1, [], failure="it is not installed"),
        ],
        batch=10,
    )
    assert rows == [
        LoaderRow("decoder 1", 1, 5.0, 10.0, 1.0, 0.8),
        LoaderRow("decoder 2", 2, 10.0, 20.0, 1.0, 0.0),
        LoaderRow("ours 1", 1, 4.0, 8.0, 0.8, 1.0),
        LoaderRow("ours 1", 1, 2.5, 5.0, 0.5, 1.6),
        LoaderRow("mxnet 1", 1, 1.0, 2.0, 0.2, 4.0),
        LoaderRow("mxnet 2", 2, 5.0, 10.0, 0.5, 0.0),
        LoaderRow("oneflow 1", 1, failure="it is not installed"),
    ]
    assert row_cells(rows[4]) == ["mxnet 1", "1", "1", "2", "0.20", "4.00"]
    assert row_cells(rows[5]) == ["mxnet 2", "2", "5", "10", "0.50", "-"]
    assert row_cells(rows[6])[2:] == ["-"] * 4


def test_who_delivers_other_images_has_no_numbers() -> None:
    entries = [measured("decoder", 1, [1.0]), measured("ours", 1, [1.0]), measured("mxnet", 1, [1.0], mean=104.0)]
    assert [row.failure for row in make_rows(entries, 1)] == ["", "", "its mean pixel differs from the others' by 4.0%"]


def test_contestants_get_as_many_cores_as_they_use() -> None:
    chosen = [(c.name, c.cores, dict(c.options)) for c in list_contestants([0, 1, 3], ["mxnet", "oneflow"])]
    assert chosen == [
        ("decoder", 1, {}),
        ("decoder", 3, {}),
        ("ours", 1, {"workers": 0}),
        ("ours", 1, {"workers": 1}),
        ("ours", 3, {"workers": 3}),
        ("oneflow", 1, {}),
        ("mxnet", 1, {"preprocess_threads": 1}),
        ("mxnet", 3, {"preprocess_threads": 3}),
    ]
    with pytest.raises(WorkerError, match="needs 4096 cores"):
        PinnedContestant("x", "none", "uint8", cores=4096).start({}, Path("log"))


def test_the_decoder_decodes_on_as_many_cores_as_it_may(tmp_path: Path) -> None:
    files = write_samples(tmp_path, 64)
    job = {"parts": files.parts, "size": 64, "num_images": 64}
    alone, both = Decoder({**job, "threads": 1}), Decoder({**job, "threads": 2})
    for decoder in (alone, both):
        clock, cpu = decoder.measure(0.1)
        assert 64 / 50_000 < cpu < 1 and clock > 64 / 100_000
    decoded = [decode_train_record(payload)[0] for part in list_parts(files.parts) for _, payload in read_part(part)]
    mean = np.mean([cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).mean() for encoded in decoded])
    assert alone.check(1) == [pytest.approx(mean)]


def test_processor_time_includes_children() -> None:
    work = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert child.pid in child_processes()
        assert 0.28 < processor_seconds([child.pid]) - time.process_time() < 1
        child.communicate(b"\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--peers", "dali"], "--peers: unknown name 'dali'; known: oneflow, mxnet"),
        (["--workers", "1,-1"], "--workers: invalid list of whole numbers value"),
        (["--images", "63"], "--images 63 is less than one --batch of 64"),
    ],
)
def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch, flags: list[str], message: str) -> None:
    monkeypatch.setattr("sys.argv", ["bench_loader.py", *flags])
    with pytest.raises(UserError, match=message) as error:
        bench_loader.parse_arguments()
    assert "\n" not in str(error.value)


def run_benchmark(tmp_path: Path, *flags: str) -> tuple[str, list[dict]]:
    command = [sys.executable, "benchmarks/bench_loader.py", "--images", "96", "--batch", "32", "--rounds", "2"]
    command += ["--seconds", "0.1", "--json", str(tmp_path / "numbers.json"), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((tmp_path / "numbers.json").read_text())["rows"]


def test_the_benchmark_runs(tmp_path: Path) -> None:
    printed, rows = run_benchmark(tmp_path, "--workers", "0,1", "--peers", "")
    assert [row["label"] for row in rows] == ["bare decoder", "ours, 0 workers", "ours, 1 workers"]
    assert all(row["failure"] == "" and row["images_per_second"] > 100 for row in rows)
    assert all(row["of_decoder"] > 0 for row in rows)
    assert "96 JPEGs of 112x112" in printed and "of decoder" in printed


@pytest.mark.slow
def test_the_peers_run(tmp_path: Path) -> None:
    workers = "0,2" if len(os.sched_getaffinity(0)) > 1 else "0"
    # With few images, OneFlow's reader may deliver some so much more often that the mean pixel differs.
    _, rows = run_benchmark(tmp_path, "--workers", workers, "--images", "1024")
    assert {row["label"].split()[0] for row in rows} == {"bare", "ours,", "OneFlow", "MXNet"}
    assert not any(row["failure"] for row in rows)
