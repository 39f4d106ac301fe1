"""Writing snapshots while training goes on: each rank its class rows, the first rank the rest.

The ranks meet in the folder itself, not in collective calls, which belong to the training: beside each shard its rank
leaves a note with size and checksum, or with what went wrong, and the first rank waits for the notes of all.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from common.files import sync_path
from snapshots.reader import DATA, FORMAT, MANIFEST, VERSION, HeadShard
from snapshots.safetensors_file import save_file

if TYPE_CHECKING:
    from launch.world import World

_POLL_SECONDS = 0.02
_ROWS = 4096  # that are looked at together


@dataclass(frozen=True)
class Contents:
    """What rank 0 adds to the shards of all ranks.

    Attributes:
        about: the manifest, but for the files.
        backbone: weights and moving statistics by MXNet name.
        moments: the optimiser's by kind and MXNet name; empty in a backbone-only snapshot.
    """

    about: dict[str, Any]
    backbone: Mapping[str, np.ndarray]
    moments: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    data: Mapping[str, np.ndarray] = field(default_factory=dict)


class SnapshotWriter:
    """Writes one snapshot at a time, in a thread of its own unless told otherwise."""

    def __init__(self, world: World, advice: str = "") -> None:
        """Write as one of the ranks of ``world``; ``advice`` is for weights that are no numbers, never written."""
        self._world = world
        self._advice = advice
        self._thread: threading.Thread | None = None
        self._path: Path | None = None
        self._error: BaseException | None = None

    def start(self, path: Path, contents: Contents, shard: HeadShard | None, background: bool = True) -> None:
        """Begin to write a snapshot from all ranks; ``path`` appears when it is complete. A collective call.

        A snapshot of the same step that is there already is replaced only once the new one is whole. The arrays must
        stay as they are until it is. Without ``background`` this rank's part is written before the call ends.

        Raises:
            UserError: nothing can be written there, or of the snapshot before, see ``finish``.
        """
        self.finish()
        building = path.with_name(f".{path.name}.tmp")
        if self._world.rank == 0:
            shutil.rmtree(building, ignore_errors=True)
            try:
                building.mkdir(parents=True)
            except OSError as error:
                raise _failure(path, error) from error
        self._world.barrier()
        self._path = path
        self._thread = threading.Thread(target=self._write, args=(path, building, contents, shard), daemon=True)
        self._thread.start()
        if not background:
            self._thread.join()

    def poll(self) -> Path | None:
        """Return the path of the snapshot if this rank's part has become complete since the last call.

        On the first rank that is the whole snapshot.

        Raises:
            UserError: it could not be written or weights are no numbers; the snapshots before it are untouched.
        """
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        if self._error is not None:
            raise self._error
        return self._path

    def finish(self, beat: Callable[[], None] = lambda: None) -> Path | None:
        """Wait for the writing, with a sign of life now and then, and return what ``poll`` does."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.5)
            beat()
        return self.poll()

    def _write(self, path: Path, building: Path, contents: Contents, shard: HeadShard | None) -> None:
        try:
            self._check_finite({**contents.backbone, **(shard.arrays if shard else {})}, contents.about["step"])
            if shard is not None:
                _leave_note(building, shard.file, _save(building / shard.file, shard.arrays))
            if self._world.rank == 0:
                _complete(path, building, contents)
        except BaseException as error:
            self._error = error
            if shard is not None:
                _leave_note(building, shard.file, {"error": str(error)})

    def _check_finite(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        for name, array in arrays.items():
            for start in range(0, len(array), _ROWS):
                if not np.isfinite(array[start : start + _ROWS]).all():
                    # The last update can break what gave a finite loss before it.
                    raise UserError(f"{name} holds NaN or Inf after step {step}; {self._advice}")


def _complete(path: Path, building: Path, contents: Contents) -> None:
    files = {"backbone.safetensors": contents.backbone}
    files |= {f"{kind}.safetensors": arrays for kind, arrays in contents.moments.items()}
    files |= {DATA: contents.data} if contents.data else {}
    facts = {name: _save(building / name, arrays) for name, arrays in files.items()}
    for shard in contents.about.get("fc7", {}).get("shards", ()):
        facts[shard["file"]] = _take_note(building, shard["file"])
    manifest = {"format": FORMAT, "version": VERSION, **contents.about, "files": dict(sorted(facts.items()))}
    try:
        (building / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        sync_path(building / MANIFEST)
        sync_path(building)
        _replace(building, path)
    except OSError as error:
        raise _failure(path, error) from error


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Write a file and return its size and checksum."""
    try:
        digest = save_file(arrays, path)
        sync_path(path)
        return {"bytes": path.stat().st_size, "sha256": digest}
    except OSError as error:
        raise _failure(path, error) from error


def _failure(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be written ({error}); the snapshots so far are untouched")


def _note_of(building: Path, file: str) -> Path:
    return building / f"{file}.note"


def _leave_note(building: Path, file: str, facts: dict[str, Any]) -> None:
    note = _note_of(building, file)
    try:
        note.with_suffix(".part").write_text(json.dumps(facts))
        os.rename(note.with_suffix(".part"), note)
    except OSError as error:
        if "error" not in facts:
            raise _failure(note, error) from error


def _take_note(building: Path, file: str) -> dict[str, Any]:
    """Wait for the note of a shard, which its rank leaves whatever happens, and remove it."""
    note = _note_of(building, file)
    while not note.exists():
        time.sleep(_POLL_SECONDS)
    facts = json.loads(note.read_text())
    if "error" in facts:
        raise UserError(facts["error"])
    note.unlink()
    return facts


def _replace(building: Path, path: Path) -> None:
    old = _put_aside(path)
    os.rename(building, path)
    sync_path(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def remove_snapshot(path: Path) -> None:
    """Remove a snapshot if it is there; it disappears whole."""
    shutil.rmtree(_put_aside(path), ignore_errors=True)


def _put_aside(path: Path) -> Path:
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.rename(path, old)
    return old
