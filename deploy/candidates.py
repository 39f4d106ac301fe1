"""List in which runtimes a file is run, converting it where a runtime reads another format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from common.errors import UserError
from deploy.convert import run_converter
from deploy.measure import Candidate
from deploy.registry import (
    INSIGHTFACE,
    LITERT,
    MNN,
    NCNN,
    ONNX2TORCH,
    ONNXRUNTIME,
    ONNXRUNTIME_WEB,
    OPENCV,
    OPENCV_5,
    OPENCV_414,
    OPENVINO,
    OURS,
    READERS,
    TO_MNN,
    TO_NCNN,
    TO_TFLITE,
    TRACT,
    Runtime,
)
from deploy.source import Source
from interchange.onnx.reader import QUANTISED


@dataclass(frozen=True)
class Way:
    """A runtime with options, for a table.

    Attributes:
        name: in the table and for ``--runtimes``.
        runtime: what runs the file.
        precision: of the computation or the storage, for what the result may differ by.
        options: of the runtime.
        converter: converts ONNX to the runtime's format; None if it reads ONNX.
        suffix: of the converted file.
        takes_int8: whether it is tried with ONNX files in int8.
    """

    name: str
    runtime: Runtime
    precision: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    converter: Runtime | None = None
    suffix: str = ""
    takes_int8: bool = False


WAYS = (
    Way("onnxruntime", ONNXRUNTIME, takes_int8=True),
    Way("opencv", OPENCV, takes_int8=True),
    Way("opencv4.14", OPENCV_414, takes_int8=True),
    Way("opencv5", OPENCV_5),
    Way("insightface", INSIGHTFACE, takes_int8=True),
    Way("openvino_f32", OPENVINO, "float32", {"precision": "f32"}, takes_int8=True),
    Way("openvino_bf16", OPENVINO, "bf16", {"precision": "bf16"}),
    Way("ncnn_fp16", NCNN, "float16", {"precision": "float16"}, TO_NCNN, ".param"),
    Way("ncnn_bf16", NCNN, "bf16", {"precision": "bf16"}, TO_NCNN, ".param"),
    Way("mnn", MNN, "float32", {}, TO_MNN, ".mnn"),
    Way("litert", LITERT, "float32", {}, TO_TFLITE, ".tflite"),
    Way("tract", TRACT),
    Way("onnx2torch", ONNX2TORCH),
    Way("onnxruntime_web", ONNXRUNTIME_WEB, takes_int8=True),
)
"""The runtimes of a table, in its order; the project's own is always first."""
NAMES = tuple(way.name for way in WAYS)


@dataclass(frozen=True)
class Entry:
    """A row to be: a file and a runtime, and how to get the file that the runtime reads.

    Attributes:
        file: as the user gave it.
        name: the runtime in the table.
        precision: what the result may differ by.
        runtime: what runs it.
        prepare: returns what to run; raises what ``run_converter`` does.
    """

    file: str
    name: str
    precision: str
    runtime: Runtime
    prepare: Callable[[], Candidate]


def list_entries(file: str, folder: Path, names: tuple[str, ...] = NAMES) -> list[Entry]:
    """Return the rows of a file.

    Args:
        file: a model that this project reads, an ONNX file, or a file of a runtime.
        folder: for the files that are made.
        names: the runtimes that are wanted; the project's own is always there if it reads the file.

    Raises:
        UserError: the file does not exist or cannot be read.
    """
    suffix = Path(file).suffix
    if suffix in READERS and not Path(file).is_file():
        raise UserError(f"{file} does not exist")
    if suffix in READERS and suffix != ".onnx":
        ways = [way for way in WAYS if way.runtime == READERS[suffix] and way.name in names]
        # A ready file does not say its precision, so it may differ as much as any.
        return [_entry(file, way, "int8", lambda: file) for way in ways]
    is_int8 = suffix == ".onnx" and _is_int8(file)
    onnx_file = file
    if suffix != ".onnx":
        onnx_file = str(Source.open(file).write_onnx(folder / "model.onnx"))
    made: dict[str, str] = {}

    def convert(way: Way) -> str:
        if way.converter is None:
            return onnx_file
        target = folder / f"model{way.suffix}"
        if way.suffix not in made:
            way.converter.require()
            run_converter(way.converter, Path(onnx_file), target)
            made[way.suffix] = str(target)
        return made[way.suffix]

    entries = []
    if not is_int8:
        entries.append(Entry(file, "this project", "float32", OURS, lambda: Candidate(file, OURS, "this project")))
    for way in WAYS:
        if way.name in names and (way.takes_int8 or not is_int8):
            precision = "int8" if is_int8 else way.precision
            entries.append(_entry(file, way, precision, lambda way=way: convert(way)))
    return entries


def _entry(file: str, way: Way, precision: str, path: Callable[[], str]) -> Entry:
    def prepare() -> Candidate:
        way.runtime.require()
        return Candidate(path(), way.runtime, way.name, dict(way.options))

    return Entry(file, way.name, precision, way.runtime, prepare)


def _is_int8(file: str) -> bool:
    try:
        return any(node.op_type in QUANTISED for node in onnx.load(file, load_external_data=False).graph.node)
    except Exception as error:  # noqa: BLE001 (protobuf raises its own)
        raise UserError(f"{file} is not an ONNX file ({type(error).__name__})") from error
