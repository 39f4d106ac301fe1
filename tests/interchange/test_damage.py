"""Files that lie about themselves, to every reader: one line, soon, and without the memory that they ask for."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_node

from backbones.graph.initializer import initial_arrays
from interchange.mxnet.checkpoint import write_checkpoint
from interchange.onnx.writer import write_onnx
from interchange.pytorch.archive import write_archive
from tests.support.conversion import write_variables
from tests.support.damage import read_all, require_clear
from tests.support.few_layers import few_layers

HUGE = 1 << 32


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good file of each format."""
    folder, graph = tmp_path_factory.mktemp("whole"), few_layers()
    arrays = initial_arrays(graph, 1)
    write_checkpoint(folder / "good", 0, graph, arrays)
    onnx.save(write_onnx(graph, arrays, {}), folder / "good.onnx")
    write_archive(folder / "good.pth", arrays)
    write_variables(folder / "good.folder", graph, arrays)
    return folder


def save_params(folder: Path, name: str, content: bytes, whole: Path) -> None:
    (folder / f"{name}-0000.params").write_bytes(content)
    shutil.copy(whole / "good-symbol.json", folder / f"{name}-symbol.json")


def make_params(folder: Path, whole: Path) -> None:
    good = (whole / "good-0000.params").read_bytes()
    first = 24  # where the first array starts
    lies = {
        "count": (16, "<Q", HUGE),
        "axes": (first + 8, "<I", 0xFFFFFFFF),
        "length": (first + 12, "<q", HUGE),
        "empty": (first + 12, "<4q", 0, 1 << 62, 1 << 62, 1),
        "overflow": (first + 12, "<4q", *[1 << 62] * 4),
        "magic": (0, "<Q", 0x113),
        "arrays": (16, "<Q", 1),
    }
    for name, (offset, layout, *values) in lies.items():
        piece = struct.pack(layout, *values)
        save_params(folder, name, good[:offset] + piece + good[offset + len(piece) :], whole)
    save_params(folder, "name", good[:-30] + struct.pack("<Q", HUGE) + good[-22:], whole)


def make_symbols(folder: Path, whole: Path) -> None:
    good = json.loads((whole / "good-symbol.json").read_text())

    def change(name: str, edit: Callable[[list], object]) -> None:
        content = json.loads(json.dumps(good))
        edit(content["nodes"])
        (folder / f"{name}-symbol.json").write_text(json.dumps(content))
        shutil.copy(whole / "good-0000.params", folder / f"{name}-0000.params")

    conv = next(i for i, node in enumerate(good["nodes"]) if node["op"] == "Convolution")
    norm = next(i for i, node in enumerate(good["nodes"]) if node["op"] == "BatchNorm")
    change("pad", lambda nodes: nodes[conv]["attrs"].update(pad=f"({HUGE}, {HUGE})"))
    change("stride", lambda nodes: nodes[conv]["attrs"].update(stride="(0, 0)"))
    change("groups", lambda nodes: nodes[conv]["attrs"].update(num_group="0"))
    change("eps", lambda nodes: nodes[norm]["attrs"].update(eps="small"))
    change("brackets", lambda nodes: nodes[conv]["attrs"].update(stride="(" * 1_000_000))
    change("circle", lambda nodes: nodes[conv].update(inputs=[[conv, 0, 0], *nodes[conv]["inputs"][1:]]))
    change("inputs", lambda nodes: nodes[conv].update(inputs=[]))
    change("number", lambda nodes: nodes[conv].update(inputs=[[HUGE, 0, 0]]))
    change("entry", lambda nodes: nodes.__setitem__(conv, 3))
    change("text", lambda nodes: nodes[conv].update(attrs="(3, 3)"))
    change("deep", lambda nodes: None)
    (folder / "deep-symbol.json").write_text("[" * 1_000_000)


def make_onnx(folder: Path, whole: Path) -> None:
    def change(name: str, edit: Callable[[onnx.ModelProto], object]) -> None:
        model = onnx.load(whole / "good.onnx")
        edit(model)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())

    def lie(model: onnx.ModelProto, *dims: int) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
        del tensor.dims[:]
        tensor.dims.extend(dims)

    def attribute(model: onnx.ModelProto, name: str, values: list[int]) -> None:
        conv = next(node for node in model.graph.node if node.op_type == "Conv")
        next(entry for entry in conv.attribute if entry.name == name).ints[:] = values

    def compute(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
        for name, array in {"row": np.ones((1, 4096), np.float32), "zeros": np.zeros(4096, np.int64)}.items():
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        conv = next(node for node in model.graph.node if node.op_type == "Conv")
        conv.input[1] = nodes[-1].output[0]
        for node in reversed(nodes):
            model.graph.node.insert(0, node)

    names = ["row", *(f"doubled{number}" for number in range(40))]
    doublings = [make_node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]
    sums = [make_node("Add", [a, "copies"], [b]) for a, b in itertools.pairwise(["copies", *names[1:]])]
    change("doubling", lambda model: compute(model, *doublings))
    change("copies", lambda model: compute(model, make_node("Gather", ["row", "zeros"], ["copies"]), *sums))
    change("dims", lambda model: lie(model, HUGE, 3, 9, 9))
    change("overflow", lambda model: lie(model, 1 << 62, 1 << 62, 4, 4))
    change("negative", lambda model: lie(model, -1, 3, 9, 9))
    change("pads", lambda model: attribute(model, "pads", [HUGE] * 4))
    change("strides", lambda model: attribute(model, "strides", [0, 0]))
    change("input", lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", HUGE))
    change("kind", lambda model: setattr(model.graph.initializer[2], "data_type", TensorProto.STRING))
    change("config", lambda model: model.metadata_props.add(key="config", value="[" * 100_000))
    change("extra", lambda model: model.metadata_props.add(key="training_arrays", value='{"x": "*"}'))
    good = (whole / "good.onnx").read_bytes()
    (folder / "length.onnx").write_bytes(b"\x3a\xff\xff\xff\xff\x0f" + good)


def make_torch(folder: Path, whole: Path) -> None:
    bombs = {
        "bytes": b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b"x.",
        "bytearray": b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b"x.",
        "text": b"\x80\x04\x8d" + struct.pack("<Q", HUGE) + b"x.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"x.",
        "memo": b"\x80\x02}r" + struct.pack("<I", 1 << 30) + b".",
        "integer": b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFFF) + b"x.",
        "lists": b"\x80\x02" + b"]" * 1_000_000 + b".",
        "itself": b"\x80\x02}q\0X\x0a\0\0\0state_dicth\0s.",
        "name": b"\x80\x02c" + b"x" * 1_000_000 + b"\ny\n.",
        "number": b"\x80\x02F" + b"x" * 1_000_000 + b"\n.",
    }
    for name, index in bombs.items():
        with zipfile.ZipFile(folder / f"{name}.pth", "w") as archive:
            archive.writestr("archive/data.pkl", index)
    with zipfile.ZipFile(folder / "compressed.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (1 << 24))
    with zipfile.ZipFile(folder / "long.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"0" * (5 << 20))
    make_overlap(folder / "overlap.pth")
    make_views(folder / "views.pth")
    make_tensor_of_tensor(folder / "strides.pth")
    header = json.dumps({"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}).encode()
    (folder / "offsets.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    header = json.dumps({"a": {"dtype": "F32", "shape": "x" * 5000, "data_offsets": [0, 4]}}).encode()
    (folder / "quoted.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (folder / "header.safetensors").write_bytes(struct.pack("<Q", HUGE) + b"{}")


def make_overlap(path: Path) -> None:
    """A zip whose many parts are one and the same piece of the file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", bytes(1 << 20))
        entry = archive.getinfo("archive/data/0")
        for number in range(1, 1000):
            copy = zipfile.ZipInfo(f"archive/data/{number}")
            for field in ("CRC", "compress_size", "file_size", "header_offset"):
                setattr(copy, field, getattr(entry, field))
            archive.filelist.append(copy)


def make_tensor_of_tensor(path: Path) -> None:
    """A tensor that lies in another, which is one number that its stride of 0 makes a million of."""
    count, rebuild = b"J\0\0\x10\0", b"ctorch._utils\n_rebuild_tensor_v2\n("
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu" + count + b"tQ"
    inner = rebuild + storage + b"J\xff\xff\x0f\0(" + count + b"t(K\0t\x89}tR"
    outer = rebuild + inner + b"K\0(" + count + b"t(K\x01t\x89}tR"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}(X\x01\0\0\0a" + outer + b"u.")
        archive.writestr("archive/data/0", bytes(4 << 20))


def make_views(path: Path) -> None:
    """A thousand tensors that are one storage: 4 GB if each were copied."""
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ\0\0\x10\0tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0(J\0\0\x10\0t(K\x01t\x89}tR"
    names = [b"X\x04\0\0\0" + f"{number:04}".encode() for number in range(1000)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}(" + b"".join(name + tensor for name in names) + b"u.")
        archive.writestr("archive/data/0", bytes(4 << 20))


def make_folders(folder: Path, whole: Path) -> None:
    tensor = b"coneflow\nTensor\n)\x81}X\x04\0\0\0pathX\x01\0\0\0tsb"
    dicts = b"}" + b"".join(b"q%c}(X\x01\0\0\0ah%cX\x01\0\0\0bh%cu" % (n, n, n) for n in range(40))
    indices = {
        "memo": b"\x80\x02}r" + struct.pack("<I", 1 << 30) + b".",
        "shape": b"\x80\x02}(X\x01\0\0\0a" + tensor + b"u.",
        "same": b"\x80\x02}(" + b"".join(b"X\x04\0\0\0%04d" % n + tensor for n in range(1000)) + b"u.",
        "shared": b"\x80\x02" + dicts + b".",
        "itself": b"\x80\x02}q\0X\x01\0\0\0ah\0s.",
    }
    metas = {"shape": f"shape {{ dim: {HUGE} }} data_type: kFloat", "same": "shape { dim: 1048576 } data_type: kFloat"}
    for name, index in indices.items():
        target = folder / f"{name}.folder" / "t"
        target.mkdir(parents=True)
        (target.parent / "pickled_data").write_bytes(index)
        (target / "meta").write_text(metas.get(name, ""))
        (target / "out").write_bytes(bytes(4 << 20 if name == "same" else 16))
    shutil.copytree(whole / "good.folder", folder / "holes.folder")
    (folder / "holes.folder" / "bn0-gamma" / "out").unlink()


MAKERS = {"params": make_params, "symbol": make_symbols, "onnx": make_onnx, "torch": make_torch, "folder": make_folders}
SUFFIXES = (".params", ".onnx", ".pth", ".safetensors", ".folder")


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix in SUFFIXES}


@pytest.mark.parametrize("kind", MAKERS)
def test_lies_cost_no_memory(tmp_path: Path, whole: Path, kind: str) -> None:
    MAKERS[kind](tmp_path, whole)
    answers = read_all(tmp_path)
    require_clear(answers, entries(tmp_path))
    allowed = {"pads.onnx", "extra.onnx"}  # no more than a strange network
    assert {name for name, (kind, *_) in answers.items() if kind == "read"} <= allowed


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    suffixes = (".onnx", ".pth", ".safetensors", "-0000.params")
    for suffix in suffixes:
        os.mkfifo(tmp_path / f"pipe{suffix}")
        (tmp_path / f"folder{suffix}").mkdir()
        (tmp_path / f"pointer{suffix}").write_text("version https://git-lfs.github.com/spec/v1\n")
    for name in ("pipe", "folder", "pointer"):
        (tmp_path / f"{name}-symbol.json").write_text("{}")
    os.mkfifo(tmp_path / "symbol-symbol.json")
    (tmp_path / "symbol-0000.params").touch()
    answers = read_all(tmp_path)
    require_clear(answers, {path.name for path in tmp_path.iterdir() if path.suffix != ".json"})
    assert {kind for kind, *_ in answers.values()} == {"refused"}
    said = {name: text for name, (_, text, _) in answers.items() if not name.endswith(".params")}
    assert all("is a text, such as a Git LFS pointer" in text for name, text in said.items() if "pointer" in name)
    assert all("is a pipe or a device" in text for name, text in said.items() if "pipe" in name)
    assert "is a pipe or a device" in answers["symbol-0000.params"][1]


def mutate(content: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield cuts, and copies with a few bytes changed."""
    for length in rng.integers(0, len(content), 12):
        yield content[:length]
    for _ in range(60):
        changed = bytearray(content)
        # Half of them among the first bytes, where lengths and types are.
        for place in rng.integers(0, len(content) if rng.random() < 0.5 else min(400, len(content)), 3):
            changed[place] = rng.integers(0, 256)
        yield bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["good-0000.params", "good-symbol.json", "good.onnx", "good.pth", "good.safetensors"])
def test_random_damage_is_never_more_than_one_line(tmp_path: Path, whole: Path, name: str) -> None:
    source = whole / name
    if name.endswith(".safetensors"):
        header = {"a": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}
        text = json.dumps(header).encode()
        source = tmp_path / "source"
        source.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    rng = np.random.default_rng(len(name))
    for number, content in enumerate(mutate(source.read_bytes(), rng)):
        (tmp_path / f"{number:03}{name.removeprefix('good')}").write_bytes(content)
        if name.startswith("good-"):
            other = "-symbol.json" if name.endswith("params") else "-0000.params"
            shutil.copy(whole / f"good{other}", tmp_path / f"{number:03}{other}")
    require_clear(read_all(tmp_path), entries(tmp_path))
