"""Write OFRecord parts from the records of a ``.rec`` file, in parallel."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.progress import progress
from data.ofrecord import encode_train_record, write_record
from data.recordio import RecordReader
from data.recordio_dataset import read_image


@dataclass(frozen=True)
class PartTask:
    """One part to write.

    Attributes:
        path: the part file.
        records: the ``.rec`` file.
        keys: int64 [N], keys of the image records, for error messages.
        offsets: int64 [N], their byte offsets.
        num_classes: labels must be below this; None for any.
    """

    path: Path
    records: Path
    keys: np.ndarray
    offsets: np.ndarray
    num_classes: int | None


def write_parts(tasks: Sequence[PartTask], num_workers: int) -> set[int]:
    """Write all parts, with ``num_workers`` processes if more than one, and return the set of classes found.

    Raises:
        UserError: a record is bad (the message names file, key and byte offset), or a process was killed.
    """
    if min(num_workers, len(tasks)) <= 1:
        return set().union(*(_write_part(task, show=True) for task in tasks))
    classes: set[int] = set()
    waiting = list(reversed(tasks))
    running: dict[Connection, BaseProcess] = {}
    try:
        with progress(total=len(tasks), desc="converting", unit="part") as bar:
            while waiting or running:
                while waiting and len(running) < num_workers:
                    connection, process = _start(waiting.pop())
                    running[connection] = process
                for connection in wait(list(running)):
                    classes |= _result(connection, running[connection])
                    del running[connection]
                    bar.update(1)
    finally:
        for process in running.values():
            process.kill()
            process.join()
    return classes


def _write_part(task: PartTask, show: bool = False) -> set[int]:
    classes = set()
    rows = zip(task.keys.tolist(), task.offsets.tolist(), strict=True)
    if show:
        rows = progress(rows, total=len(task.keys), desc=task.path.name, unit="img")
    with RecordReader(task.records) as reader, open(task.path, "wb") as handle:
        for key, offset in rows:
            encoded, label = read_image(reader, key, offset)
            if task.num_classes is not None and label >= task.num_classes:
                raise UserError(
                    f"{task.records}: key {key} at byte {offset} has label {label}, "
                    f"but its property file says {task.num_classes} classes; correct property"
                )
            classes.add(label)
            write_record(handle, encode_train_record(encoded, label))
    return classes


def _start(task: PartTask) -> tuple[Connection, BaseProcess]:
    """Start a process that writes one part; spawned, not forked, so that the caller may have threads."""
    ours, theirs = Pipe(duplex=False)
    process = get_context("spawn").Process(target=_work, args=(task, theirs), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _work(task: PartTask, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process

    def end_with_parent() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        connection.send(_write_part(task))
    except UserError as error:
        connection.send(str(error))


def _result(connection: Connection, process: BaseProcess) -> set[int]:
    """Return the classes that a finished process found.

    Raises:
        UserError: the process hit a bad record or was killed.
    """
    try:
        answer = connection.recv()
    except EOFError:
        process.join()
        raise UserError(
            f"a process that wrote parts ended with exit code {process.exitcode}; "
            "if memory ran out, use a smaller --num_workers"
        ) from None
    finally:
        connection.close()
    process.join()
    if isinstance(answer, str):
        raise UserError(answer)
    return answer
