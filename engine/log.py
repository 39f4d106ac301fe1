"""The log of a run: lines on the console and in ``train.log``, one JSON line per log point, TensorBoard's files."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.append_file import AppendFile
from common.errors import UserError
from common.files import atomic_file
from common.json_text import parse_json
from engine.board import Board


class RunLog:
    """The log of a run; only the first rank writes one.

    Files in ``directory``: ``train.log``, ``metrics.jsonl`` and TensorBoard's event files. A resumed run appends to
    them, after its first numbers have replaced those of later steps than the snapshot's. A file that cannot be written
    does not end the run: a line says so once.

    Attributes:
        is_active: whether this rank writes the log.
    """

    def __init__(self, directory: Path, active: bool, start_step: int) -> None:
        """Open ``train.log``; without ``active`` every call does nothing."""
        self.is_active = active
        self._directory = directory
        self._start_step = start_step
        self._lines: AppendFile | None = None
        self._metrics: AppendFile | None = None
        self._board: Board | None = None
        if active:
            self._lines = AppendFile(directory / "train.log", _print)

    def say(self, *lines: str) -> None:
        """Print lines, and write them to ``train.log`` with the time."""
        if self.is_active:
            for line in lines:
                _print(line)
            self.write(*lines)

    def write(self, *lines: str) -> None:
        """Write lines to ``train.log`` only, with the time."""
        if self.is_active:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            self._lines.write("".join(f"{stamp} {line}\n" for line in lines).encode("utf-8", "surrogateescape"))

    def record(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Write numbers of one ``kind`` ("train", or the name of a verification set) at ``step``.

        Numbers that are not finite are left out: JSON has none.
        """
        if not self.is_active:
            return
        self._open_numbers()
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"step": step, "kind": kind, "time": stamp, **finite}) + "\n"
        self._metrics.write(line.encode())
        self._board.add_numbers({f"{kind}/{name}": value for name, value in finite.items()}, step)

    def record_settings(self, settings: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Give TensorBoard the settings, as a text and as hyperparameters to compare runs of by ``metrics``."""
        if self.is_active:
            self._open_numbers()
            self._board.add_settings(settings, metrics, self._start_step)

    def close(self) -> None:
        """Close the files."""
        for file in (self._board, self._metrics, self._lines):
            if file is not None:
                file.close()

    def _open_numbers(self) -> None:
        """Open the files of numbers, without those of steps that come again."""
        if self._metrics is None:
            path = self._directory / "metrics.jsonl"
            try:
                _drop_after(path, self._start_step)
            except (UserError, OSError) as error:
                self.say(f"{path}: the numbers of later steps than {self._start_step} stay in it ({error})")
            self._metrics = AppendFile(path, self.say)
            self._board = Board(self._directory, self._start_step + 1 if self._start_step else None, self.say)


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # a console that writes to a full disk does not end the run
        print(line, flush=True)


def _drop_after(path: Path, step: int) -> None:
    if not path.is_file() or os.path.getsize(path) == 0:
        return
    kept = []
    for line in path.read_bytes().splitlines():
        try:
            if parse_json(line)["step"] <= step:
                kept.append(line)
        except (ValueError, LookupError, TypeError):
            continue  # the torn last line of a killed run, or a damaged one
    with atomic_file(path) as file:
        file.writelines(line + b"\n" for line in kept)


def format_seconds(seconds: float) -> str:
    """Return ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class StepMeter:
    """Averages losses, accuracy, speed and the share of time spent waiting for data since the last reading."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._begin(0.0)

    def _begin(self, waited: float) -> None:
        self._start = time.perf_counter()
        self._waited = waited
        self._steps = 0
        self._loss = self._logged_loss = 0.0
        self._correct = 0.0

    def add(self, loss: float, logged_loss: float, correct: float) -> None:
        """Take in one step: its loss, what the log shows as ``lossvalue``, and its correctly classified images."""
        self._steps += 1
        self._loss += loss
        self._logged_loss += logged_loss
        self._correct += correct

    def exclude(self, seconds: float) -> None:
        """Leave time that was not spent training (verification, snapshots) out of the speed."""
        self._start += seconds

    def read(self, waited: float) -> dict[str, float]:
        """Return the interval's averages and begin the next one."""
        seconds = time.perf_counter() - self._start
        images = self._steps * self._batch_size
        values = {
            "loss": self._loss / self._steps,
            "lossvalue": self._logged_loss / self._steps,
            "acc": self._correct / images,
            "images_per_second": images / seconds,
            "data_wait": (waited - self._waited) / seconds,
        }
        self._begin(waited)
        return values
