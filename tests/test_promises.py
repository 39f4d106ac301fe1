"""What docs/security.md promises of files that come from others; each test names its promise there."""

from __future__ import annotations

import json
import os
import pickle
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from common.compiling import NativeUnavailableError, build_once
from common.errors import UserError
from common.files import atomic_directory, atomic_file
from data.verification.bin_file import read_bin
from evaluation.embedding_store import read_store
from evaluation.templates.features import read_features
from interchange.oneflow.folders import read_oneflow_folder
from interchange.onnx.metadata import drop_places
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from interchange.pytorch.state import read_torch
from sample_config import network as NETWORKS
from snapshots.label_map import read_label_map
from snapshots.reader import Snapshot
from tests.snapshots.test_reader import write

ROOT = Path(__file__).resolve().parents[1]


class Marker:
    """Creates a file when a reader runs what its pickle asks for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def in_pth(path: Path, content: object) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
        archive.writestr("archive/data/0", b"\0" * 96)


def in_older_pth(path: Path, content: object) -> None:
    numbers = [pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join([*numbers, pickle.dumps(content, 2), pickle.dumps([], 2)]))


def in_oneflow_folder(path: Path, content: object) -> None:
    path.mkdir()
    (path / "pickled_data").write_bytes(pickle.dumps(content))


def in_store(path: Path, content: object) -> None:
    names = ("about", "embeddings", "names", "norms")
    np.savez(path, **dict.fromkeys(names, np.array([content], object)))


def in_insightface_store(path: Path, content: object) -> None:
    np.savez(path, embs=np.array([[content]], object), embs_f=np.array([[content]], object))


PICKLES: dict[str, tuple[Callable, Callable]] = {
    "weights.pth": (in_pth, lambda path: read_torch(path, NETWORKS)),
    "older.pth": (in_older_pth, lambda path: read_torch(path, NETWORKS)),
    "folder": (in_oneflow_folder, lambda path: read_oneflow_folder(path, NETWORKS)),
    "pairs.bin": (lambda path, content: path.write_bytes(pickle.dumps(([content], [True]))), read_bin),
    "faces.npz": (in_store, read_store),
    "embeddings.npz": (in_insightface_store, lambda path: read_features([path], ["a"])),
}


@pytest.mark.parametrize("name", PICKLES)
def test_no_pickle_is_run(tmp_path: Path, name: str) -> None:
    put, read = PICKLES[name]
    mark = tmp_path / "mark"
    put(tmp_path / name, Marker(mark))
    with pytest.raises(UserError):
        read(tmp_path / name)
    assert not mark.exists()


def test_the_marker_would_be_seen(tmp_path: Path) -> None:
    """Python's own reader runs what the reader above is offered."""
    in_older_pth(tmp_path / "older.pth", Marker(tmp_path / "mark"))
    with open(tmp_path / "older.pth", "rb") as file:
        for _ in range(4):
            pickle.load(file)
    assert (tmp_path / "mark").exists()


def tiny_onnx() -> onnx.ModelProto:
    graph = build_network(NETWORKS["y1"])
    return write_onnx(graph, initial_arrays(graph, 0), {})


def move_initializer(model: onnx.ModelProto, where: str) -> None:
    _move(model.graph.initializer[2], where)


def move_constant(model: onnx.ModelProto, where: str) -> None:
    tensor = onnx.numpy_helper.from_array(np.ones(8, np.float32), "elsewhere")
    _move(tensor, where)
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["elsewhere"], value=tensor))


def _move(tensor: onnx.TensorProto, where: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=where)


@pytest.mark.parametrize("where", ["../numbers", "numbers", "/absolute"])
@pytest.mark.parametrize("move", [move_initializer, move_constant])
def test_no_array_of_an_onnx_file_is_read_from_elsewhere(tmp_path: Path, move: Callable, where: str) -> None:
    below = tmp_path / "below"
    below.mkdir()
    for place in (tmp_path, below):
        np.zeros(1 << 16, np.float32).tofile(place / "numbers")
    model = tiny_onnx()
    move(model, str(tmp_path / "numbers") if where == "/absolute" else where)
    (below / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"a\.onnx.*(lies in another file|not a valid ONNX model)"):
        read_onnx(below / "a.onnx")


def test_a_terminal_does_not_obey_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        read_bin(tmp_path / "\x1b[31mred\x9b\x07 名前\u3000é")
    assert "\\x1b[31mred\\x9b\\x07 名前\u3000é" in str(raised.value)


def test_a_message_quotes_no_more_than_fits_a_screen(tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("[" * 100_000)
    with pytest.raises(UserError) as raised:
        read_label_map(tmp_path / "map.txt")
    text = str(raised.value)
    assert str(tmp_path / "map.txt") in text and "more characters) ... [[" in text and len(text) < 4100


ESCAPES = ("../escaped", "a/../../escaped", "{absolute}/escaped")


@pytest.mark.parametrize("member", ESCAPES)
def test_no_member_of_an_archive_is_written(tmp_path: Path, member: str) -> None:
    below = tmp_path / "below"
    below.mkdir()
    name = member.format(absolute=tmp_path)
    for file in ("a.pth", "a.npz"):
        with zipfile.ZipFile(below / file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
            for end in ("", ".npy", "/data.pkl", "/data/0"):
                archive.writestr(name + end, b"\x93NUMPY escaped")
    for read in (lambda: read_torch(below / "a.pth", NETWORKS), lambda: read_store(below / "a.npz")):
        with pytest.raises(UserError):
            read()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.npz", "a.pth", "below"]


@pytest.mark.parametrize("name", ["../other.safetensors", "{absolute}/other.safetensors", "..", ""])
def test_a_snapshot_reads_no_file_outside_of_it(tmp_path: Path, name: str) -> None:
    snapshot = write(tmp_path / "snapshot_5")
    manifest = snapshot.path / "snapshot.json"
    about = json.loads(manifest.read_text())
    shard = about["fc7"]["shards"][0]["file"]
    outside = tmp_path / "other.safetensors"
    outside.write_bytes((snapshot.path / shard).read_bytes())
    named = name.format(absolute=tmp_path)
    about["files"][named] = about["files"].pop(shard)
    about["fc7"]["shards"][0]["file"] = named
    manifest.write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"snapshot\.json is damaged"):
        Snapshot.open(snapshot.path)


@pytest.mark.parametrize("folder", ["../saved", "/tmp", "..", "a/b"])
def test_an_index_of_oneflow_reads_no_folder_outside(tmp_path: Path, folder: str) -> None:
    """The index names the folder of each tensor; OneFlow's class is replaced by one that only keeps the name."""
    path = tmp_path / "model"
    path.mkdir()
    state = pickle.dumps({"path": folder}, 2)[2:-1]  # without the start and the end of a pickle
    index = b"\x80\x02}X\x01\x00\x00\x00wconeflow.framework.check_point_v2\n_ignored\n"
    tensor = b"coneflow\nTensor\n)\x81" + state + b"b"
    (path / "pickled_data").write_bytes(index[: index.index(b"c")] + tensor + b"s.")
    with pytest.raises(UserError, match=r"names the folder|refused to load"):
        read_oneflow_folder(path, NETWORKS)


def test_exported_files_carry_no_place_of_the_training_machine() -> None:
    places = {
        "models_root": "runs",
        "join_token": "secrets/run",
        "dataset_dir": "faces",
        "node_ips": ["10.0.0.1"],
        "label_map": "people.txt",
        "anything": "/trainer/x",
    }
    assert drop_places({**places, "network": "r50", "lr": 0.1}) == {"network": "r50", "lr": 0.1}


def fill(tools: str, folder: Path) -> None:
    (folder / "library.so").write_text(tools)


@pytest.mark.parametrize("loose", ["cache", "cache/key", "cache/key/library.so"])
def test_built_code_that_others_can_write_is_not_loaded(tmp_path: Path, loose: str) -> None:
    def build() -> Path:
        return build_once("key", tmp_path / "cache", lambda: "gcc", fill)

    assert (build() / "library.so").read_text() == "gcc"
    path = tmp_path / loose
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(before | 0o002)
    with pytest.raises(NativeUnavailableError, match=f"{loose} belongs to another user, or others may write it"):
        build()
    path.chmod(before)
    build()
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        with pytest.raises(NativeUnavailableError, match=r"owner 12345"):
            build()


def test_a_cache_that_others_can_write_is_not_built_in(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(NativeUnavailableError, match="others may write it"):
        build_once("key", tmp_path / "cache", lambda: "gcc", fill)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary names beside a target can be guessed, so in a folder of several users a link may be there already."""
    for path in ("common.files", "common.temporaries"):
        monkeypatch.setattr(f"{path}.temporary_path", lambda target: target.with_name("guessed"))
    victim = tmp_path / "victim"
    victim.write_text("kept")
    out = tmp_path / "out"
    out.mkdir()
    (out / "guessed").symlink_to(victim)
    for write_it in (atomic_file, atomic_directory):
        with pytest.raises(UserError, match="cannot be written"), write_it(out / "target"):
            pass
    assert victim.read_text() == "kept" and not (out / "target").exists()


ROOMS = "backbones common data deploy engine evaluation interchange launch ops settings snapshots tools"
_NAME_IN_TMP = re.compile(r"""\b(mktemp|gettempdir|gettempprefix)\b|["'](/tmp|/var/tmp|/dev/shm)\b""")


def test_no_name_in_tmp_is_chosen_by_the_program() -> None:
    assert _NAME_IN_TMP.search('Path("/tmp/x")') and _NAME_IN_TMP.search("tempfile.mktemp()")
    files = [path for room in ROOMS.split() for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    assert [path for path in files if _NAME_IN_TMP.search(path.read_text())] == []
