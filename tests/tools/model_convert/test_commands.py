"""The commands on a snapshot of y1: round trips through every format, and real programs on the files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from insightface import model_zoo

from backbones import build_network
from common.errors import UserError
from interchange import agreement
from interchange.converted_snapshot import ConvertedModel, write_converted
from interchange.embedders import oneflow_embedder
from interchange.open_model import open_model
from interchange.pretrained import read_pretrained
from sample_config import generate_config
from snapshots.reader import Snapshot
from tests.support.conversion import descriptions_kept, relative_error, write_variables
from tools import oneflow2onnx
from tools.model_convert import (
    legacy_2_oneflow,
    mxnet_2_oneflow,
    oneflow_2_mxnet,
    oneflow_2_torch,
    onnx_2_oneflow,
    torch_2_oneflow,
)

ROWS = np.random.default_rng(3).normal(size=(11, 128)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def _descriptions_kept() -> Iterator[None]:
    with descriptions_kept():
        yield


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A complete snapshot of y1 as a training would leave it."""
    config = generate_config("y1", "orl", "arcface")
    config.num_classes = len(ROWS)
    graph = build_network(config)
    rng = np.random.default_rng(1)
    arrays = {}
    for name, spec in graph.parameters().items():
        values = (
            rng.normal(0, np.sqrt(2 / max(1, np.prod(spec.shape[1:]))), spec.shape)
            if spec.kind == "weight"
            else (rng.uniform(0.5, 1, spec.shape))
        )
        arrays[name] = np.ones(spec.shape, np.float32) if spec.fixed else values.astype(np.float32)
    path = tmp_path_factory.mktemp("y1") / "snapshot_5"
    write_converted(path, ConvertedModel(config, graph, arrays, {"fc7_weight": ROWS}, []), {})
    return Snapshot.open(path)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable:
    def run(module, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        module.main()

    return run


def test_there_and_back_through_mxnet(snapshot: Snapshot, tmp_path: Path, call: Callable, capsys) -> None:
    prefix = tmp_path / "mx" / "y1"
    call(oneflow_2_mxnet, "-of", snapshot.path, "-mx_save_prefix", prefix, "-mx_save_epoch", 16, "--fc7")
    call(mxnet_2_oneflow, "-mx_load_prefix", prefix, "-mx_load_epoch", 16, "-of", tmp_path / "back")
    assert "(OneFlow and MXNet)" in capsys.readouterr().out
    back = Snapshot.open(tmp_path / "back")
    expected = snapshot.backbone()
    assert {n: a.tobytes() for n, a in back.backbone().items()} == {n: a.tobytes() for n, a in expected.items()}
    assert back.head_rows(0, 11)["fc7_weight"].tobytes() == ROWS.tobytes()
    assert not np.any(back.moments()["momentum"]["conv_1_conv2d_weight"])
    assert back.about["config"]["network"] == "y1" and back.about["config"]["num_classes"] == 11
    assert back.about["source"]["file"] == "y1-0016.params"
    call(mxnet_2_oneflow, "-mx_load_prefix", prefix, "-mx_load_epoch", 16, "-of", tmp_path / "cut", "--num_classes", 9)
    assert Snapshot.open(tmp_path / "cut").head_rows(0, 9)["fc7_weight"].tobytes() == ROWS[:9].tobytes()
    trained = build_network(snapshot.about["config"])
    for name, array in read_pretrained(f"{prefix},16", trained).arrays.items():
        assert array.tobytes() == expected[name].tobytes()
    assert open_model(f"{prefix},16").about["step"] == 16
    with pytest.raises(UserError, match="--num_classes 12: .* has only 11 rows"):
        call(
            mxnet_2_oneflow, "-mx_load_prefix", prefix, "-mx_load_epoch", 16, "-of", tmp_path / "x", "--num_classes", 12
        )
    with pytest.raises(UserError, match="back exists already"):
        call(mxnet_2_oneflow, "-mx_load_prefix", prefix, "-mx_load_epoch", 16, "-of", tmp_path / "back")


@pytest.fixture(scope="module")
def exported(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "y1.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["x", "--model_load_dir", str(snapshot.path), "--onnx_path", str(path)])
        oneflow2onnx.main()
    return path


def test_there_and_back_through_onnx(snapshot: Snapshot, exported: Path, tmp_path: Path, call: Callable) -> None:
    call(onnx_2_oneflow, "--onnx_path", exported, "-of", tmp_path / "back")
    back = Snapshot.open(tmp_path / "back")
    for name, array in snapshot.backbone().items():
        assert back.backbone()[name].tobytes() == array.tobytes()
    assert not back.is_full and back.about["config"]["loss_m2"] == snapshot.about["config"]["loss_m2"]
    assert {entry.key for entry in onnx.load(exported).metadata_props} >= {"config", "source_sha256", "preprocessing"}


def test_a_transformer_there_and_back(tmp_path: Path, call: Callable, random_arrays) -> None:
    config = generate_config("vit_t", "orl", "arcface")
    config.update(num_layers=2, vit_width=64, emb_size=32, num_classes=11)
    graph = build_network(config)
    arrays = random_arrays(graph, 4)
    write_converted(tmp_path / "vit", ConvertedModel(config, graph, arrays, {}, []), {})
    call(oneflow2onnx, "--model_load_dir", tmp_path / "vit", "--onnx_path", tmp_path / "vit.onnx")
    call(onnx_2_oneflow, "--onnx_path", tmp_path / "vit.onnx", "-of", tmp_path / "back")
    back = Snapshot.open(tmp_path / "back")
    assert build_network(back.about["config"]).nodes == graph.nodes
    read = read_pretrained(str(tmp_path / "vit.onnx"), graph).arrays
    for name, array in arrays.items():
        assert back.backbone()[name].tobytes() == read[name].tobytes() == array.tobytes()
    images = agreement.load_images(graph)
    model = open_model(str(tmp_path / "vit.onnx"))
    assert (
        relative_error(oneflow_embedder(model.network, model.arrays)(images), oneflow_embedder(graph, arrays)(images))
        < 1e-6
    )
    with pytest.raises(UserError, match=r"MXNet has no operator tokens \(patch_tokens\); write this network as ONNX"):
        call(oneflow_2_mxnet, "-of", tmp_path / "vit", "-mx_save_prefix", tmp_path / "mx" / "vit")
    assert not (tmp_path / "mx").exists()


@pytest.mark.parametrize(("flags", "tolerance"), [(("--fp16",), 2e-2), (("--metadata", "short"), 1e-4)])
def test_smaller_files_come_back_near(snapshot, exported, tmp_path, call, flags, tolerance) -> None:
    call(oneflow2onnx, "--model_load_dir", snapshot.path, "--onnx_path", tmp_path / "y1.onnx", *flags)
    assert (tmp_path / "y1.onnx").stat().st_size < exported.stat().st_size
    call(onnx_2_oneflow, "--onnx_path", tmp_path / "y1.onnx", "-of", tmp_path / "back")
    images = agreement.load_images(build_network(snapshot.about["config"]))
    models = [open_model(str(path)) for path in (snapshot.path, tmp_path / "back")]
    whole, small = (oneflow_embedder(model.network, model.arrays)(images) for model in models)
    assert relative_error(small, whole) < tolerance


def test_there_and_back_in_a_form_for_phones(snapshot: Snapshot, tmp_path: Path, call: Callable) -> None:
    form = ("--batch", 1, "--input_layout", "NHWC", "--opset", 11, "--preprocess", 0)
    call(oneflow2onnx, "--model_load_dir", snapshot.path, "--onnx_path", tmp_path / "y1.onnx", *form)
    call(onnx_2_oneflow, "--onnx_path", tmp_path / "y1.onnx", "-of", tmp_path / "back")
    for name, array in snapshot.backbone().items():
        assert Snapshot.open(tmp_path / "back").backbone()[name].tobytes() == array.tobytes()
    with pytest.raises(SystemExit):
        call(oneflow2onnx, "--model_load_dir", snapshot.path, "--onnx_path", tmp_path / "x.onnx", "--opset", 10)
    assert not (tmp_path / "x.onnx").exists()


def test_there_and_back_through_pytorch(snapshot: Snapshot, tmp_path: Path, call: Callable) -> None:
    call(oneflow_2_torch, "-of", snapshot.path, "--torch_path", tmp_path / "backbone.pth")
    call(torch_2_oneflow, "--torch_path", tmp_path / "backbone.pth", "-of", tmp_path / "back")
    for name, array in snapshot.backbone().items():
        np.testing.assert_allclose(Snapshot.open(tmp_path / "back").backbone()[name], array, rtol=2e-6, atol=2e-7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "backbone.pth"]


def test_an_old_folder_becomes_a_snapshot(snapshot: Snapshot, tmp_path: Path, call: Callable) -> None:
    write_variables(tmp_path / "old", build_network(snapshot.about["config"]), snapshot.backbone())
    call(legacy_2_oneflow, "--legacy_dir", tmp_path / "old", "-of", tmp_path / "new")
    for name, array in snapshot.backbone().items():
        assert Snapshot.open(tmp_path / "new").backbone()[name].tobytes() == array.tobytes()
    with pytest.raises(UserError, match="has neither pickled_data nor folders"):
        call(legacy_2_oneflow, "--legacy_dir", tmp_path, "-of", tmp_path / "newer")


def test_a_conversion_that_differs_leaves_nothing(snapshot, exported, tmp_path, call, monkeypatch) -> None:
    monkeypatch.setattr(agreement, "compare", lambda *_: agreement.Agreement(16, 1e-3, 0.999))
    for module, arguments in (
        (oneflow_2_mxnet, ("-of", snapshot.path, "-mx_save_prefix", tmp_path / "y1")),
        (oneflow2onnx, ("--model_load_dir", snapshot.path, "--onnx_path", tmp_path / "y1.onnx")),
        (oneflow_2_torch, ("-of", snapshot.path, "--torch_path", tmp_path / "y1.pth")),
    ):
        monkeypatch.setattr(module, "compare", agreement.compare)
        with pytest.raises(UserError, match="is not written: .* would differ by more than 0.0001"):
            call(module, *arguments)
    monkeypatch.setattr("settings.convert_command.compare", agreement.compare)
    with pytest.raises(UserError, match="is not written"):
        call(onnx_2_oneflow, "--onnx_path", exported, "-of", tmp_path / "back")
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_one_line_and_stay(snapshot, tmp_path, call) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder.onnx").mkdir()
    below = tmp_path / "file" / "a"
    for module, arguments in (
        (oneflow_2_mxnet, ("-of", snapshot.path, "-mx_save_prefix", below)),
        (oneflow2onnx, ("--model_load_dir", snapshot.path, "--onnx_path", tmp_path / "folder.onnx")),
        (oneflow_2_torch, ("-of", snapshot.path, "--torch_path", below.with_suffix(".pth"))),
    ):
        with pytest.raises(UserError, match="cannot be written"):
            call(module, *arguments)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.onnx"]


@pytest.mark.parametrize(
    ("tool", "flag", "source"),
    [
        (oneflow2onnx, "--onnx_path", "--model_load_dir"),
        (oneflow_2_mxnet, "--mxnet_save_prefix", "--of_model_dir"),
        (onnx_2_oneflow, "--of_model_dir", "--onnx_path"),
        (torch_2_oneflow, "--of_model_dir", "--torch_path"),
        (mxnet_2_oneflow, "--of_model_dir", "--mxnet_load_prefix"),
    ],
)
def test_where_nothing_can_be_written_is_said_before_the_model_is_read(tmp_path, call, tool, flag, source) -> None:
    (tmp_path / "file").touch()
    for target, message in (("", f"{flag} is empty; give a path"), (tmp_path / "file" / "a", "is not a folder")):
        with pytest.raises(UserError, match=message):
            call(tool, flag, target, source, tmp_path / "none")


@pytest.mark.parametrize("flag", ["--num_classes", "-mx_load_epoch"])
def test_numbers_below_zero_are_refused(tmp_path, call, capsys, flag) -> None:
    with pytest.raises(SystemExit):
        call(mxnet_2_oneflow, "-mx_load_prefix", tmp_path / "a", "-of", tmp_path / "b", f"{flag}=-5")
    assert "'-5' is not a whole number >= 0" in capsys.readouterr().err


def pictures(count: int = 3) -> np.ndarray:
    """Faces as programs hold them: BGR, uint8 [N, 112, 112, 3]."""
    return np.random.default_rng(4).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)


def embed(snapshot: Snapshot, faces: np.ndarray) -> np.ndarray:
    model = open_model(str(snapshot.path))
    rgb = faces[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    return oneflow_embedder(model.network, model.arrays)(np.ascontiguousarray(rgb))


def test_insightfaces_package_recognises_the_model(snapshot: Snapshot, exported: Path) -> None:
    model = model_zoo.get_model(str(exported), providers=["CPUExecutionProvider"])
    assert (type(model).__name__, model.taskname) == ("ArcFaceONNX", "recognition")
    assert (model.input_size, model.input_mean, model.input_std) == ((112, 112), 0.0, 1.0)
    faces = pictures()
    assert relative_error(model.get_feat(list(faces)), embed(snapshot, faces)) < 1e-4


@pytest.mark.parametrize("flags", [("--fuse_bn", "0"), ()], ids=["plain", "fused"])
def test_opencv_runs_the_model(snapshot: Snapshot, tmp_path: Path, call: Callable, flags: tuple[str, ...]) -> None:
    call(oneflow2onnx, "--model_load_dir", snapshot.path, "--onnx_path", tmp_path / "y1.onnx", *flags)
    network = cv2.dnn.readNetFromONNX(str(tmp_path / "y1.onnx"))
    for face in pictures():
        network.setInput(cv2.dnn.blobFromImage(face, swapRB=True))
        assert relative_error(network.forward(), embed(snapshot, face[None])) < 1e-4
