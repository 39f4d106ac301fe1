"""Training sets with any contents, damage included."""

from __future__ import annotations

import contextlib
import io
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from data.image import encode_jpeg
from data.ofrecord.records import encode_train_record, write_record
from data.recordio.records import ImageHeader, RecordWriter, pack_record, write_index
from data.sources.synthetic import SyntheticSource
from tests.support.commands import ROOT

Face = tuple[bytes, int]


def small_faces(people: int, images: int, size: int = 32) -> list[Face]:
    """(JPEG, class) of different images, ordered by class."""
    source = SyntheticSource(people * images, people, image_size=size)
    return [(encode_jpeg(source.read(number)[0]), number // images) for number in range(people * images)]


def write_records(folder: Path, faces: Sequence[Face], prop: str = "", index: bool = True) -> list[int]:
    """Write ``train.rec`` with keys from 0 and return the byte offset of each record."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "train.rec", "wb") as handle:
        writer = RecordWriter(handle)
        offsets = [
            writer.write(pack_record(ImageHeader((float(label),), key), encoded))
            for key, (encoded, label) in enumerate(faces)
        ]
    if index:
        with open(folder / "train.idx", "wb") as handle:
            write_index(handle, range(len(offsets)), offsets)
    if prop:
        (folder / "property").write_text(f"{prop}\n")
    return offsets


def write_part(folder: Path, faces: Sequence[Face]) -> None:
    """Write ``part-00000``."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "part-00000", "wb") as handle:
        for encoded, label in faces:
            write_record(handle, encode_train_record(encoded, label))


def write_photos(folder: Path, faces: Sequence[Face]) -> None:
    """Write a folder per class, with files that are numbered over all of them."""
    for number, (encoded, label) in enumerate(faces):
        person = folder / f"person {label}"
        person.mkdir(parents=True, exist_ok=True)
        (person / f"{number}.jpg").write_bytes(encoded)


def run_here(script: str, *flags: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [script, *map(str, flags)])
        before = signal.getsignal(signal.SIGINT)  # which commands change
        try:
            with pytest.raises(SystemExit) as end:
                runpy.run_path(str(ROOT / script), run_name="__main__")
        finally:
            signal.signal(signal.SIGINT, before)
    return end.value.code, out.getvalue(), err.getvalue()
