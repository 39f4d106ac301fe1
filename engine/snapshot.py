"""Snapshots: a folder that is complete or absent, with everything a run needs to go on.

``backbone.safetensors`` holds weights and moving statistics under their MXNet names, ``momentum.safetensors`` their
momentum, ``fc7-00000-of-00002.safetensors`` one shard of class rows each (weight, bias, momentum), and
``snapshot.json`` the rest: step, position in the data, config, preprocessing, versions, size and checksum of each file.
A backbone-only snapshot is the same with less in it. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.errors import UserError
from common.files import sync_path

if TYPE_CHECKING:
    from engine.world import World

MANIFEST = "snapshot.json"
FORMAT = "insightface-oneflow-snapshot"
VERSION = 1
_NAME = re.compile(r"snapshot_(\d+)$")
_NEEDED = ("config", "files")
_NEEDED_TO_RESUME = ("step", "position", "highest_accuracy", "fc7")


@dataclass(frozen=True)
class HeadShard:
    """This rank's class rows: arrays whose first axis is the rows ``start``..``stop``-1, padding left out."""

    index: int
    count: int
    start: int
    stop: int
    arrays: Mapping[str, np.ndarray]

    @property
    def file(self) -> str:
        """Name of the shard's file."""
        return f"fc7-{self.index:05d}-of-{self.count:05d}.safetensors"


@dataclass(frozen=True)
class Contents:
    """What rank 0 adds to the shards of all ranks. ``momentum`` is None in a backbone-only snapshot."""

    about: dict[str, Any]
    backbone: Mapping[str, np.ndarray]
    momentum: Mapping[str, np.ndarray] | None = None


def snapshot_path(root: Path, step: int) -> Path:
    """Return the folder of the snapshot after ``step`` steps."""
    return root / f"snapshot_{step}"


def find_newest(root: Path) -> Path | None:
    """Return the snapshot with the most steps below ``root``, None if there is none."""
    found = [path for path in root.glob("snapshot_*") if _NAME.search(path.name)]
    return max(found, key=lambda path: int(_NAME.search(path.name)[1]), default=None)


def write_snapshot(path: Path, world: World, contents: Contents, shard: HeadShard | None) -> None:
    """Write a snapshot from all ranks; ``path`` appears when it is complete. A collective call.

    A snapshot of the same step that is there already is replaced only once the new one is whole.
    """
    building = path.with_name(f".{path.name}.tmp")
    if world.rank == 0:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
    world.barrier()
    if shard is not None:
        _save(building / shard.file, shard.arrays)
    world.barrier()
    if world.rank == 0:
        _save(building / "backbone.safetensors", contents.backbone)
        if contents.momentum is not None:
            _save(building / "momentum.safetensors", contents.momentum)
        files = {file.name: _describe_file(file) for file in sorted(building.iterdir())}
        manifest = {"format": FORMAT, "version": VERSION, **contents.about, "files": files}
        (building / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        sync_path(building / MANIFEST)
        sync_path(building)
        _replace(building, path)
    world.barrier()


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
        path.chmod(0o644)  # the library makes it private
        sync_path(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be written ({error}); the snapshots so far are untouched") from error


def _replace(building: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.rename(path, old)
    os.rename(building, path)
    sync_path(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _describe_file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": _checksum(path)}


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 22), b""):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on disk whose files are all there with the sizes that its manifest says."""

    path: Path
    about: dict[str, Any]
    _checked: set[str] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Snapshot:
        """Read the manifest.

        Raises:
            UserError: this is no snapshot, of an unknown version, or a file is missing or of another size.
        """
        path = Path(path)
        manifest = path / MANIFEST
        if not manifest.is_file():
            raise UserError(f"{path} is no snapshot: it has no {MANIFEST}; snapshots are folders like snapshot_5000")
        try:
            about = json.loads(manifest.read_text())
        except ValueError as error:
            raise UserError(f"{manifest} is damaged ({error}); use another snapshot") from error
        if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("version") != VERSION:
            raise UserError(f"{manifest} is not of format {FORMAT}, version {VERSION}")
        needed = _NEEDED + (_NEEDED_TO_RESUME if "fc7" in about else ())
        lacking = [key for key in needed if key not in about]
        if lacking:
            raise UserError(f"{manifest} is damaged: it lacks {', '.join(lacking)}; use another snapshot")
        for name, facts in about["files"].items():
            size = (path / name).stat().st_size if (path / name).is_file() else None
            if size != facts["bytes"]:
                found = "missing" if size is None else f"of {size} bytes"
                raise UserError(f"{path / name} is {found}, expected {facts['bytes']} bytes; use another snapshot")
        return cls(path, about)

    @property
    def is_full(self) -> bool:
        """Whether training can go on from here: momentum and fc7 are in it."""
        return "fc7" in self.about

    def backbone(self) -> dict[str, np.ndarray]:
        """Return weights and moving statistics by MXNet name."""
        return self._load("backbone.safetensors")

    def momentum(self) -> dict[str, np.ndarray]:
        """Return the backbone's momentum by MXNet name."""
        return self._load("momentum.safetensors")

    def head_rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return the class rows ``start``..``stop``-1 of every array of the head, from however many shards."""
        shards = self.about["fc7"]["shards"]
        # An empty range (a rank with padding only) still has names and widths: those of the first shard.
        wanted = [s for s in shards if max(start, s["rows"][0]) < min(stop, s["rows"][1])] or shards[:1]
        pieces: dict[str, list[np.ndarray]] = {}
        for shard in wanted:
            first, last = shard["rows"]
            low, high = (max(start, first), min(stop, last)) if start < stop else (first, first)
            self._verify(shard["file"])
            with safe_open(self.path / shard["file"], framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    pieces.setdefault(name, []).append(file.get_slice(name)[low - first : high - first])
        return {name: np.concatenate(rows) for name, rows in pieces.items()}

    def _load(self, name: str) -> dict[str, np.ndarray]:
        if name not in self.about["files"]:
            raise UserError(f"{self.path} holds no {name}: it is a backbone-only snapshot and cannot resume a run")
        self._verify(name)
        try:
            with safe_open(self.path / name, framework="numpy") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise UserError(f"{self.path / name} is damaged ({error}); use another snapshot") from error

    def _verify(self, name: str) -> None:
        if name not in self._checked and _checksum(self.path / name) != self.about["files"][name]["sha256"]:
            raise UserError(f"{self.path / name} does not match its checksum in {MANIFEST}; use another snapshot")
        self._checked.add(name)
