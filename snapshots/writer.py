"""Writing snapshots in the background of a training: each rank writes its class rows, the first rank the rest.

The writing threads use no collective calls, which would mix with those of the training. They synchronize through the
folder itself: beside each shard its rank leaves a note with size and checksum, or with the error, and the first rank
waits for the notes of all ranks.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.bfloat16 import is_finite
from common.errors import UserError
from common.files import sync_path
from snapshots.layout import AVERAGE, BACKBONE, DATA, FORMAT, MANIFEST, VERSION, HeadShard
from snapshots.safetensors_file import save_file

_POLL_SECONDS = 0.02
_DISCARD_SECONDS = 1.0  # shorter than a supervisor waits for the other ranks after a failure
_ROWS = 4096  # rows checked for NaN at a time


@dataclass(frozen=True)
class Contents:
    """What rank 0 adds to the shards of all ranks.

    Attributes:
        about: the manifest without its ``files``.
        backbone: weights and moving statistics by MXNet name.
        moments: the optimizer's moments by kind and MXNet name; empty in a backbone-only snapshot.
        data: the triplets to come, by array name; empty unless the loss is a triplet loss.
        average: the average of the backbone's arrays, by MXNet name; empty without ``ema_decay``.
    """

    about: dict[str, Any]
    backbone: Mapping[str, np.ndarray]
    moments: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    data: Mapping[str, np.ndarray] = field(default_factory=dict)
    average: Mapping[str, np.ndarray] = field(default_factory=dict)


class SnapshotWriter:
    """Writes one snapshot at a time, in a background thread unless told otherwise."""

    def __init__(
        self, rank: int = 0, barrier: Callable[[], None] = lambda: None, advice: str = "use an earlier snapshot"
    ) -> None:
        """Write as one rank of several; the defaults are for a single process.

        Args:
            rank: this rank; rank 0 makes the folder and completes it.
            barrier: waits for all ranks.
            advice: the advice in the error about weights with NaN or Inf, which are never written.
        """
        self._rank = rank
        self._barrier = barrier
        self._advice = advice
        self._thread = ThreadPoolExecutor(1)
        self._thread.submit(int)  # starts it now: a later start could fail, or wait forever, where memory is short
        self._writing: Future[None] | None = None
        self._path: Path | None = None
        self._error: BaseException | None = None

    def start(self, path: Path, contents: Contents, shard: HeadShard | None, background: bool = True) -> None:
        """Begin to write a snapshot from all ranks; ``path`` appears when it is complete. A collective call.

        An earlier snapshot of the same step is replaced only once the new one is complete. Until then the arrays must
        not change. Without ``background`` this rank's part is written before the call returns.

        Raises:
            UserError: the folder cannot be written, or the snapshot before could not (see ``poll``).
        """
        self.finish()
        building = path.with_name(f".{path.name}.tmp")
        if self._rank == 0:
            for ending in ("tmp", "old"):  # of killed runs, of this step or of others
                for left_over in path.parent.glob(f".snapshot_*.{ending}"):
                    shutil.rmtree(left_over, ignore_errors=True)
            try:
                building.mkdir(parents=True)
            except OSError as error:
                raise _write_error(path, error) from error
        self._barrier()
        self._path = path
        self._writing = self._thread.submit(self._write, path, building, contents, shard)
        if not background:
            wait([self._writing])

    def poll(self) -> Path | None:
        """Return the path of the snapshot if this rank's part was completed since the last call, else None.

        On rank 0 the whole snapshot is then complete.

        Raises:
            UserError: the snapshot could not be written, or weights hold NaN or Inf; earlier snapshots are untouched.
        """
        if self._writing is None or not self._writing.done():
            return None
        self._writing = None
        if self._error is not None:
            raise self._error
        return self._path

    def finish(self, heartbeat: Callable[[], None] = lambda: None) -> Path | None:
        """Wait for the writing, with a heartbeat twice a second, and return what ``poll`` returns."""
        while self._writing is not None and not self._writing.done():
            wait([self._writing], 0.5)
            heartbeat()
        return self.poll()

    def _write(self, path: Path, building: Path, contents: Contents, shard: HeadShard | None) -> None:
        try:
            for arrays in (contents.backbone, contents.average, shard.arrays if shard else {}):
                self._check_finite(arrays, contents.about["step"])
            if shard is not None:
                _write_note(building, shard.file, _save(building / shard.file, shard.arrays))
            if self._rank == 0:
                _complete(path, building, contents)
        except BaseException as error:
            self._error = error
            if shard is not None:
                with contextlib.suppress(OSError):
                    (building / shard.file).unlink(missing_ok=True)  # makes room for the note on a full disk
                _write_note(building, shard.file, {"error": str(error)})
            if self._rank == 0:
                _discard(building, contents)

    def _check_finite(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        for name, array in arrays.items():
            for start in range(0, len(array), _ROWS):
                if not is_finite(array[start : start + _ROWS]):
                    # A finite loss does not prove finite weights: the update after it may have broken them.
                    raise UserError(f"{name} holds NaN or Inf after step {step}; {self._advice}")


def _discard(building: Path, contents: Contents) -> None:
    """Remove an unfinished snapshot, once the other ranks have stopped writing or after a moment."""
    notes = [_note_path(building, shard["file"]) for shard in contents.about.get("fc7", {}).get("shards", ())]
    deadline = time.monotonic() + _DISCARD_SECONDS
    while time.monotonic() < deadline and not all(note.exists() for note in notes):
        time.sleep(_POLL_SECONDS)
    shutil.rmtree(building, ignore_errors=True)


def _complete(path: Path, building: Path, contents: Contents) -> None:
    files = {BACKBONE: contents.backbone}
    files |= {f"{kind}.safetensors": arrays for kind, arrays in contents.moments.items()}
    files |= {DATA: contents.data} if contents.data else {}
    facts = {name: _save(building / name, arrays) for name, arrays in files.items()}
    for shard in contents.about.get("fc7", {}).get("shards", ()):
        facts[shard["file"]] = _await_note(building, shard["file"])
    try:
        if contents.average:
            (building / AVERAGE).mkdir()
            about = {key: value for key, value in contents.about.items() if key not in ("fc7", "optimizer")}
            _write_manifest(
                building / AVERAGE, about, {BACKBONE: _save(building / AVERAGE / BACKBONE, contents.average)}
            )
        _write_manifest(building, contents.about, facts)
        _replace(building, path)
    except OSError as error:
        raise _write_error(path, error) from error


def _write_manifest(folder: Path, about: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    manifest = {"format": FORMAT, "version": VERSION, **about, "files": dict(sorted(facts.items()))}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    sync_path(folder / MANIFEST)
    sync_path(folder)


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Write a file and return its size and checksum."""
    try:
        digest = save_file(arrays, path)
        sync_path(path)
        return {"bytes": path.stat().st_size, "sha256": digest}
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be written ({error}); earlier snapshots are untouched")


def _note_path(building: Path, file: str) -> Path:
    return building / f"{file}.note"


def _write_note(building: Path, file: str, facts: dict[str, Any]) -> None:
    note = _note_path(building, file)
    try:
        note.with_suffix(".part").write_text(json.dumps(facts))
        os.rename(note.with_suffix(".part"), note)
    except OSError as error:
        if "error" not in facts:
            raise _write_error(note, error) from error


def _await_note(building: Path, file: str) -> dict[str, Any]:
    """Wait for the note of a shard, which its rank leaves in any case, remove it and return its facts."""
    note = _note_path(building, file)
    while not note.exists():
        time.sleep(_POLL_SECONDS)
    facts = json.loads(note.read_text())
    if "error" in facts:
        raise UserError(facts["error"])
    note.unlink()
    return facts


def _replace(building: Path, path: Path) -> None:
    old = _rename_away(path)
    os.rename(building, path)
    sync_path(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def remove_snapshot(path: Path) -> None:
    """Remove a snapshot if it exists, atomically: it is renamed first."""
    shutil.rmtree(_rename_away(path), ignore_errors=True)


def _rename_away(path: Path) -> Path:
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.rename(path, old)
    return old
