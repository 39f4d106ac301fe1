"""The course of a conversion: write, run the result beside the model on real faces, keep it or refuse it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common.files import atomic_directory, copy_file
from deploy.acceptance import Tolerance, describe, require_likeness
from deploy.faces import load_faces
from deploy.measure import Candidate, embed_faces, measure_speeds
from deploy.registry import ONNXRUNTIME, OURS, Runtime
from deploy.source import Source
from deploy.worker_client import Worker
from interchange.image_input import InputFlags

FACES = 200  # of a folder, on which the result is compared


@dataclass(frozen=True)
class Task:
    """A conversion and its check.

    Attributes:
        model: the model to convert, in any format that this project reads.
        target: the file or folder to write.
        pairs: the faces of the check; see ``load_faces``.
        tolerance: what the result may differ by.
        label: the result's name in the table.
        runtime: what runs the result.
        options: of the runtime.
        needs: runtimes and converters that must be installed.
        convert: writes the result; is given the model, its ONNX file, and the path to write. Its paths are absolute.
        file: the file in the folder ``target`` that the runtime loads; empty: ``target`` is a file.
        flags: how a model of another program takes its images.
        others: more options and labels to run the result with, for the table only.
        with_speed: whether to measure images per second.
    """

    model: str
    target: Path
    pairs: str
    tolerance: Tolerance
    label: str
    runtime: Runtime
    convert: Callable[[Source, Path, Path], None]
    needs: Sequence[Runtime] = ()
    options: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    flags: InputFlags = InputFlags()
    others: Sequence[tuple[str, dict[str, Any]]] = ()
    with_speed: bool = True


def convert_and_check(task: Task) -> None:
    """Convert a model, print how the result compares with it, and keep the result if it is alike.

    Raises:
        UserError: the model or the faces cannot be read, a package is missing, a converter or runtime fails, or the
            result differs by more than the tolerance. Then nothing is written.
    """
    for runtime in (*task.needs, task.runtime):
        runtime.require()
    source = Source.open(task.model, task.flags)
    faces = load_faces(task.pairs, source.size, FACES)
    with tempfile.TemporaryDirectory() as folder, _staged(task) as staged:
        onnx_file = source.write_onnx(Path(folder) / "model.onnx")
        task.convert(source, onnx_file, staged.absolute())
        loaded = str(staged / task.file) if task.file else str(staged)
        reference = Candidate(task.model, OURS, "this project, float32", asdict(task.flags))
        candidates = [
            reference,
            Candidate(str(onnx_file), ONNXRUNTIME, "onnxruntime, float32"),
            Candidate(loaded, task.runtime, task.label, task.options),
            *(Candidate(loaded, task.runtime, label, options) for label, options in task.others),
        ]
        results = [embed_faces(candidate, faces, source.size) for candidate in candidates]
        speeds = [float("nan")] * len(candidates)
        if task.with_speed:
            speeds = measure_speeds(candidates, faces, source.size, cores=1)
        labels = [candidate.label for candidate in candidates]
        print(describe(dict(zip(labels, zip(results, speeds, strict=True), strict=True)), results[0]))
        require_likeness(str(task.target), results[2], results[0], task.tolerance)
    size = sum(path.stat().st_size for path in _files(task.target))
    print(f"{task.target}: {size / 1e6:.1f} MB")


@contextmanager
def _staged(task: Task) -> Iterator[Path]:
    """Yield where to write; it becomes the target when the block ends without an exception."""
    if task.file:
        with atomic_directory(task.target) as staged:
            yield staged
        return
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / task.target.name
        yield staged
        copy_file(staged, task.target)


def _files(path: Path) -> list[Path]:
    return [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]


def run_converter(converter: Runtime, source: Path, target: Path, **options: Any) -> None:
    """Run a module of ``deploy.conversions`` in its environment; see ``Worker.ask`` for what is raised."""
    with Worker(converter.module, converter.package, converter.environment) as worker:
        worker.ask("convert", source=str(source.absolute()), target=str(target.absolute()), options=options)
