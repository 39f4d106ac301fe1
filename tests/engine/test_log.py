from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from engine.log import RunLog, StepMeter, format_seconds


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write(folder: Path, start: int, steps: range) -> None:
    log = RunLog(folder, active=True, start_step=start)
    for step in steps:
        log.record(step, "train", {"loss": step / 2})
    log.close()


def test_a_resumed_log_drops_what_came_after_the_snapshot(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 9))
    write(tmp_path, 5, range(6, 8))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    third = lines(tmp_path)[2]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", third.pop("time"))
    assert third == {"step": 3, "kind": "train", "loss": 1.5}


def test_a_resumed_log_stays_whole_until_its_first_numbers(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 9))
    write(tmp_path, 5, range(0))  # a run that could not start
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_numbers_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    log = RunLog(tmp_path, active=True, start_step=0)
    log.record(1, "lfw", {"accuracy": 0.5, "val": math.nan, "norm": math.inf})
    log.close()
    assert {key: value for key, value in lines(tmp_path)[0].items() if key != "time"} == {
        "step": 1,
        "kind": "lfw",
        "accuracy": 0.5,
    }


def test_write_goes_to_the_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path, active=True, start_step=0)
    log.write("Called with argument: {}")
    log.close()
    assert capsys.readouterr().out == ""
    assert (tmp_path / "train.log").read_text().endswith(" Called with argument: {}\n")


@pytest.mark.parametrize("torn", [b'{"step": 4, "ki', b"\0\0", b"[]", b'{"kind": "train"}', b"\xff", b"[" * 100_000])
def test_a_torn_last_line_is_dropped(tmp_path: Path, torn: bytes) -> None:
    write(tmp_path, 0, range(1, 4))
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(torn)
    write(tmp_path, 3, range(4, 6))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]


def test_say_prints_and_keeps_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path, active=True, start_step=0)
    log.say("[lfw][10]XNorm: 22.172497", "second")
    log.close()
    assert capsys.readouterr().out == "[lfw][10]XNorm: 22.172497\nsecond\n"
    kept = (tmp_path / "train.log").read_text().splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert all(re.match(time, line) for line in kept)
    assert [re.sub(time, "", line) for line in kept] == ["[lfw][10]XNorm: 22.172497", "second"]


def test_train_log_is_appended_to(tmp_path: Path) -> None:
    for word in ("first", "second"):
        log = RunLog(tmp_path, active=True, start_step=0)
        log.say(word)
        log.close()
    assert [line.split()[-1] for line in (tmp_path / "train.log").read_text().splitlines()] == ["first", "second"]


def test_other_ranks_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path / "log", active=False, start_step=0)
    log.say("hello")
    log.record(1, "train", {"loss": 1.0})
    log.close()
    assert capsys.readouterr().out == "" and not (tmp_path / "log").exists()


def test_tensorboard_file_is_written(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 3))
    (events,) = tmp_path.glob("events.out.tfevents*")
    assert b"train/loss" in events.read_bytes()


def test_full_disks_are_said_once_a_file_and_end_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train.log", "metrics.jsonl"):
        (tmp_path / name).symlink_to("/dev/full")
    log = RunLog(tmp_path, active=True, start_step=0)
    for step in (1, 2):
        log.say(f"step {step}")
        log.record(step, "train", {"loss": 1.0})
    log.close()
    full = "cannot be written (No space left on device); the training continues without it"
    assert capsys.readouterr().out.splitlines() == [
        "step 1",
        f"{tmp_path / 'train.log'} {full}",
        f"{tmp_path / 'metrics.jsonl'} {full}",
        "step 2",
    ]


def test_a_log_folder_that_vanishes_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path / "log", active=True, start_step=0)
    (tmp_path / "log" / "train.log").unlink()
    (tmp_path / "log").rmdir()
    (tmp_path / "log").touch()
    log.record(1, "train", {"loss": 1.0})
    log.record(2, "train", {"loss": 1.0})
    log.close()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and "metrics.jsonl cannot be written (" in said[0] and "events.out" in said[1]


def test_tensorboard_reads_its_file(tmp_path: Path) -> None:
    """The records have tensorboardX's form, and steps that come again are hidden from TensorBoard."""
    write(tmp_path, 5, range(6, 8))
    (path,) = tmp_path.glob("events.out.tfevents*")
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc32c(body)
        events.append(Event.FromString(body))
        data = data[16 + length :]
    assert [event.file_version for event in events[:2]] == ["brain.Event:2"] * 2
    assert (events[2].step, events[2].session_log.status) == (6, SessionLog.START)
    numbers = [(event.step, event.summary.value[0].tag, event.summary.value[0].simple_value) for event in events[3:]]
    assert numbers == [(6, "train/loss", 3.0), (7, "train/loss", 3.5)]
    assert all(event.wall_time > 1.6e9 for event in events)


def test_tensorboard_has_the_settings_beside_the_numbers(tmp_path: Path) -> None:
    log = RunLog(tmp_path, active=True, start_step=0)
    log.record_settings({"lr": 0.1, "loss": "arcface", "lr_steps": [3, 5], "resume": False}, ["train/loss"])
    log.record(1, "train", {"loss": 1.0})
    log.close()
    (events,) = tmp_path.rglob("events.out.tfevents*")
    data = events.read_bytes()
    for expected in (b"settings/text_summary", b"| lr_steps | [3, 5] |", b"_hparams_/experiment", b"arcface"):
        assert expected in data


def test_meter_averages_since_the_last_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 2.0, 6.0, 6.0])
    monkeypatch.setattr("engine.log.time.perf_counter", lambda: next(clock))
    meter = StepMeter(8)
    meter.add(3.0, 2.0, 2)
    meter.add(5.0, 4.0, 4)
    assert meter.read(0.5) == {
        "loss": 4.0,
        "lossvalue": 3.0,
        "acc": 6 / 16,
        "images_per_second": 8.0,
        "data_wait": 0.25,
    }
    meter.add(1.0, 1.0, 8)
    assert meter.read(1.5) == {"loss": 1.0, "lossvalue": 1.0, "acc": 1.0, "images_per_second": 2.0, "data_wait": 0.25}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3725, "1:02:05"), (360000, "100:00:00")]
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
