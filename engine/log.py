"""The log of a run: lines on the console and in ``train.log``, one JSON line per log point, TensorBoard's files."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from common.files import atomic_file


class RunLog:
    """The log of a run; only the first rank writes one.

    Files in ``directory``: ``train.log``, ``metrics.jsonl`` and TensorBoard's event files. A resumed run appends to
    them, after its first numbers have replaced those of later steps than the snapshot's.
    """

    def __init__(self, directory: Path, active: bool, start_step: int) -> None:
        """Open ``train.log``; without ``active`` every call does nothing."""
        self._directory = directory
        self._active = active
        self._start_step = start_step
        self._lines: TextIO | None = None
        self._metrics: TextIO | None = None
        self._board: SummaryWriter | None = None
        if active:
            directory.mkdir(parents=True, exist_ok=True)
            self._lines = open(directory / "train.log", "a", buffering=1)  # noqa: SIM115 (closed in close)

    def say(self, *lines: str) -> None:
        """Print lines, and write them to ``train.log`` with the time."""
        if self._active:
            for line in lines:
                print(line, flush=True)
            self.write(*lines)

    def write(self, *lines: str) -> None:
        """Write lines to ``train.log`` only, with the time."""
        if self._active:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            self._lines.writelines(f"{stamp} {line}\n" for line in lines)

    def record(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Write numbers of one ``kind`` ("train", or the name of a verification set) at ``step``.

        Numbers that are not finite are left out: JSON has none.
        """
        if not self._active:
            return
        self._open_numbers()
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._metrics.write(json.dumps({"step": step, "kind": kind, "time": stamp, **finite}) + "\n")
        for name, value in finite.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def record_settings(self, settings: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Give TensorBoard the settings, as a text and as hyperparameters to compare runs of by ``metrics``."""
        if not self._active:
            return
        self._open_numbers()
        lines = [f"| {key} | {value} |" for key, value in sorted(settings.items())]
        self._board.add_text("settings", "\n".join(["| key | value |", "|---|---|", *lines]), self._start_step)
        values = {
            key: value if isinstance(value, (bool, int, float)) else str(value) for key, value in settings.items()
        }
        # SummaryWriter.add_hparams would open another run in a folder below this one.
        for summary in hparams(values, dict.fromkeys(metrics)):
            self._board.file_writer.add_summary(summary)

    def close(self) -> None:
        """Flush and close the files."""
        for file in (self._board, self._metrics, self._lines):
            if file is not None:
                file.close()

    def _open_numbers(self) -> None:
        """Open the files of numbers, without those of steps that come again."""
        if self._metrics is None:
            path = self._directory / "metrics.jsonl"
            _drop_after(path, self._start_step)
            self._metrics = open(path, "a", buffering=1)  # noqa: SIM115 (closed in close)
            purge = self._start_step + 1 if self._start_step else None
            self._board = SummaryWriter(str(self._directory), purge_step=purge)


def _drop_after(path: Path, step: int) -> None:
    if not path.is_file() or os.path.getsize(path) == 0:
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # the torn last line of a killed run
    with atomic_file(path, "w") as file:
        file.writelines(f"{line}\n" for line in kept)


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
