"""TensorBoard's event file, written record by record: tensorboardX's own thread would hang the run on a full disk."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import hparams, scalar, text

from common.append_file import AppendFile

_FILE_VERSION = "brain.Event:2"


class Board:
    """Writes numbers and settings for TensorBoard."""

    def __init__(self, directory: Path, first_step: int | None, say: Callable[[str], None]) -> None:
        """Start a new event file in ``directory``; ``first_step`` hides what earlier files have from this step on."""
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        self._file = AppendFile(directory / name, say)
        self._write(Event(file_version=_FILE_VERSION))
        if first_step is not None:
            self._write(Event(step=first_step, file_version=_FILE_VERSION))
            self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))

    def add_numbers(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name."""
        for name, value in values.items():
            self._add(scalar(name, value), step)

    def add_settings(self, settings: Mapping[str, Any], metrics: Sequence[str], step: int) -> None:
        """Add settings as a text, and as hyperparameters to compare runs of by ``metrics``."""
        settings = {key: _printable(value) if isinstance(value, str) else value for key, value in settings.items()}
        lines = [f"| {key} | {value} |" for key, value in sorted(settings.items())]
        self._add(text("settings", "\n".join(["| key | value |", "|---|---|", *lines])), step)
        values = {
            key: value if isinstance(value, (bool, int, float)) else str(value) for key, value in settings.items()
        }
        for summary in hparams(values, dict.fromkeys(metrics)):
            self._add(summary)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, summary: Summary, step: int | None = None) -> None:
        event = Event(summary=summary)
        if step is not None:
            event.step = step
        self._write(event)

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        checks = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
        self._file.write(length + checks[0] + data + checks[1])


def _printable(value: str) -> str:
    """Return a path that may have bytes that are not UTF-8 as text, with escapes."""
    return value.encode("utf-8", "backslashreplace").decode()
