"""What a run says: lines on the console and in ``train.log``, one JSON line per log point, TensorBoard scalars."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from common.files import atomic_file


class RunLog:
    """The log of a run; on every rank but the first it does nothing.

    Files in ``directory``: ``train.log``, ``metrics.jsonl`` and TensorBoard's event files. A resumed run goes on in
    them: what they say of later steps than the snapshot's is dropped.
    """

    def __init__(self, directory: Path, active: bool, start_step: int) -> None:
        self._active = active
        if not active:
            return
        directory.mkdir(parents=True, exist_ok=True)
        self._metrics_path = directory / "metrics.jsonl"
        _drop_after(self._metrics_path, start_step)
        self._lines = open(directory / "train.log", "a", buffering=1)  # noqa: SIM115 (closed in close)
        self._metrics = open(self._metrics_path, "a", buffering=1)  # noqa: SIM115 (closed in close)
        self._board = SummaryWriter(str(directory), purge_step=start_step + 1 if start_step else None)

    def say(self, *lines: str) -> None:
        """Print lines, and keep them with the time in ``train.log``."""
        if not self._active:
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        for line in lines:
            print(line, flush=True)
            self._lines.write(f"{stamp} {line}\n")

    def record(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        """Keep numbers of one ``kind`` ("train", or the name of a verification set) under ``step``."""
        if not self._active:
            return
        self._metrics.write(json.dumps({"step": step, "kind": kind, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush and close the files."""
        if not self._active:
            return
        self._board.close()
        self._metrics.close()
        self._lines.close()


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
        self._loss = self._shown = 0.0
        self._correct = 0.0

    def add(self, loss: float, shown: float, correct: float) -> None:
        """Take in one step: its loss, what the log shows as ``lossvalue``, and its correctly classified images."""
        self._steps += 1
        self._loss += loss
        self._shown += shown
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
            "lossvalue": self._shown / self._steps,
            "acc": self._correct / images,
            "images_per_second": images / seconds,
            "data_wait": (waited - self._waited) / seconds,
        }
        self._begin(waited)
        return values
