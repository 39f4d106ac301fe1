from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from backbones import build_network
from common.errors import UserError
from interchange.embedders import graph_embedder, onnx_embedder
from interchange.matching.adapt import adapt
from interchange.matching.canonical_layers import pair_layers
from interchange.pytorch.archive import read_archive, write_archive
from interchange.pytorch.checkpoint import flatten
from interchange.pytorch.state import MEAN, SCALE, read_torch, write_torch
from sample_config import network as NETWORKS
from tests.support.conversion import bring_in, relative_error
from tests.support.foreign_onnx import torch_style
from tests.support.zip_files import mark_encrypted

OPTIONS = {"y1": NETWORKS.y1, "r18": {**NETWORKS.r18, "net_output": "FC"}}
TORCHS_OWN = {"y1": "y1", "r18": "iresnet18"}  # with its constants and no dropout, r18 is that of PyTorch's trainer
ARRAYS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "a.bias": np.zeros((), np.float32),
    "a.num_batches_tracked": np.array(7, np.int64),
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.pth", ARRAYS)
    found, skipped = read_archive(tmp_path / "a.pth")
    assert not skipped
    assert isinstance(found, OrderedDict) and list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    flat = flatten({"epoch": 1, "state_dict_backbone": found}, "a")
    assert list(flat) == [f"state_dict_backbone.{name}" for name in ARRAYS]


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("name", ["y1", pytest.param("r18", marks=pytest.mark.slow)])
def test_names_and_values_are_those_of_pytorchs_network(tmp_path: Path, random_arrays, name: str, suffix: str) -> None:
    graph = build_network(OPTIONS[name])
    arrays = random_arrays(graph, 1)
    arrays = {n: np.ones_like(a) if graph.parameters()[n].fixed else a for n, a in arrays.items()}
    path = tmp_path / f"backbone.{suffix}"
    assert write_torch(path, graph, arrays)
    foreign = read_torch(path, NETWORKS)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 112, 112)).astype(np.float32)
    expected = graph_embedder(graph, arrays)(images)
    assert relative_error(graph_embedder(foreign.network, foreign.arrays)(images), expected) < 1e-5
    # PyTorch's side of it: its constants, its preprocessing outside
    outside = onnx_embedder(torch_style(foreign.network, foreign.arrays, False).SerializeToString())
    assert relative_error(outside((images - MEAN) * SCALE), expected) < 1e-5
    assert bring_in(foreign)[0].name == TORCHS_OWN[name]
    back = adapt(graph, pair_layers(graph, foreign.network), foreign.network, foreign.arrays)
    for key, array in arrays.items():
        np.testing.assert_allclose(back.arrays[key], array, rtol=2e-6, atol=2e-7, err_msg=key)


def test_the_names_of_iresnet(tmp_path: Path) -> None:
    graph = build_network(OPTIONS["r18"])
    write_torch(tmp_path / "b.pth", graph, {n: np.ones(s.shape, np.float32) for n, s in graph.parameters().items()})
    names, _ = read_archive(tmp_path / "b.pth")
    assert {"conv1.weight", "bn1.running_var", "prelu.weight", "layer1.0.downsample.0.weight", "fc.bias"} <= set(names)
    assert {"layer4.1.bn3.num_batches_tracked", "bn2.weight", "features.running_mean"} <= set(names)
    assert names["fc.weight"].shape == (512, 512 * 49) and names["prelu.weight"].shape == (64,)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def rewrite(path: Path, index: bytes, compress: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("archive/data.pkl", index)
        archive.writestr("archive/data/0", b"\0" * 96)


def index_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("archive/data.pkl")


DAMAGES = {
    "code": (lambda p: rewrite(p, pickle.dumps({"x": Evil()}, 2)), "refused to load '__builtin__.print'"),
    "a zip bomb": (lambda p: rewrite(p, b"\x80\x02" + b"0" * 100_000, zipfile.ZIP_DEFLATED), "is compressed"),
    "a tensor beyond its storage": (
        lambda p: rewrite(p, index_of(p).replace(b"J\x02\0\0\0J\x03", b"J\x02\0\0\x40J\x03")),
        "beyond its storage",
    ),
    "a cut file": (lambda p: p.write_bytes(p.read_bytes()[:-30]), "is damaged or cut"),
    "an encrypted part": (lambda p: mark_encrypted(p, "archive/data/0"), "part archive/data/0 is encrypted"),
    "no zip": (lambda p: p.write_bytes(pickle.dumps(1)), "is not a file of torch.save"),
    "a pointer": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1"), "is a text, such as a Git LFS"),
    "half an index": (lambda p: rewrite(p, index_of(p)[:-20]), "is damaged"),
    "a number": (lambda p: rewrite(p, pickle.dumps(7, 2)), "does not hold a state dict"),
    "another network": (lambda p: None, "no array is named as in a network known here"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_line_and_nothing_runs(tmp_path: Path, capsys, name: str) -> None:
    path = tmp_path / "a.pth"
    write_archive(path, ARRAYS)
    damage, message = DAMAGES[name]
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        read_torch(path, NETWORKS)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert "executed" not in capsys.readouterr().out


def test_a_network_that_pytorch_lacks_is_an_error(tmp_path: Path) -> None:
    graph = build_network({**NETWORKS.r18, "net_output": "GDC"})
    arrays = {n: np.ones(s.shape, np.float32) for n, s in graph.parameters().items()}
    with pytest.raises(UserError, match="have no such network"):
        write_torch(tmp_path / "a.pth", graph, arrays)
