"""Checkpoints in the forms that people have, written by PyTorch; where .venv-peers has it (``make bench`` makes it)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from interchange.embedders import graph_embedder, oneflow_embedder
from interchange.pytorch.state import read_torch
from sample_config import network as NETWORKS
from tests.support.conversion import bring_in, relative_error
from tests.support.faces import orl_faces
from tools.model_convert.torch_2_oneflow import with_rows

PROGRAM = Path(__file__).with_name("torch_forms.py")
ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-peers/bin/python"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
# The file: its network, and how far its embeddings may differ (half precision is the file's own).
READ = {
    **dict.fromkeys(
        (
            "plain.pth",
            "ddp.pth",
            "compiled.pth",
            "feat_net.pt",
            "nested.pt",
            "facexzoo.pt",
            "facexzoo_dp.pt",
            "softmax.pth",
            "legacy.pth",
            "legacy_model.pth",
            "parameters.pth",
            "no_counters.pth",
            "model.pth",
            "dp_model.pth",
            "scripted.pt",
            "traced.pt",
            "prefixed.safetensors",
            "checkpoint_gpu_3.pt",
            "ranks/backbone.pth",
        ),
        ("mbf", "mbf-net_multiplier1.0", 1e-4),
    ),
    "half.pth": ("mbf", "mbf-net_multiplier1.0", 1e-2),
    "bfloat16.pth": ("mbf", "mbf-net_multiplier1.0", 5e-2),
    "adaface.ckpt": ("ir", "ir18", 1e-4),
    "cvlface.pt": ("irse", "ir18-net_se1", 1e-4),
    "evolve.pth": ("evolve", "ir18-net_unit6", 1e-4),
    "evolve_se.pth": ("evolve_se", "ir18-net_se1-net_unit6", 1e-4),
    "facexzoo_mobile.pt": ("block", "mbf-net_multiplier1.0", 1e-4),
}
ROWS = {
    "facexzoo.pt": "head.weight: rows of 30 classes, one in each column",
    "facexzoo_dp.pt": "module.head.weight: rows of 30 classes, one in each column",
    "softmax.pth": "fc.weight: rows of 30 classes",
    "checkpoint_gpu_3.pt": "rows of 30 classes, joined from 8 ranks",
    "ranks/backbone.pth": "rows of 30 classes, joined from 8 ranks",
    "adaface.ckpt": "state_dict.head.kernel: rows of 30 classes, one in each column",
}
REFUSED = {
    "cut.pth": r"nearest is mbf.*: features.layers.2.weight has the shape \(512, 100\), expected \(512, 512\)$",
    "two.pth": "holds 2 networks, under student., teacher.; save the state_dict of one alone",
    "optimizer.pt": "no array is named as in a network known here .* begin: state_optimizer.state.0.momentum_buffer",
    "other_model.pth": r"no array is named as in a network known here .* its 2 begin: 0.weight \(8, 3, 3, 3\)",
    "extra.pth": "nearest is mbf.*: names left over: extra.weight$",
    "depth.pth": "nearest is iresnet18 .*: layer4.1.bn1.weight is missing, expected",
    "ranks/rank_0_softmax_weight.pt": r"holds one array of shape \(4, 512\), not a network",
    "ranks/rank_0_softmax_weight_mom.pt": "holds the momentum of class rows",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that PyTorch saved."""
    needs = "import torch, safetensors, onnx"
    if not PYTHON.exists() or subprocess.run([str(PYTHON), "-c", needs], capture_output=True).returncode:
        pytest.skip("no .venv-peers with PyTorch: run benchmarks/setup_peers.sh")
    folder = tmp_path_factory.mktemp("forms")
    np.save(folder / "images.npy", orl_faces(2))
    command = [str(PYTHON), str(PROGRAM), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("file", READ)
def test_a_form_is_read_and_embeds_alike(folder: Path, file: str) -> None:
    network, name, tolerance = READ[file]
    foreign = read_torch(folder / file, NETWORKS)
    expected, images = np.load(folder / "embeddings.npz")[network], np.load(folder / "images.npy")
    assert relative_error(graph_embedder(foreign.network, foreign.arrays)(images), expected) < tolerance
    found, adaptation = bring_in(foreign)
    assert found.name == name
    if network != "mbf":
        assert relative_error(oneflow_embedder(found.network, adaptation.arrays)(images), expected) < tolerance


@pytest.mark.parametrize("file", ROWS)
def test_class_rows_come_along(folder: Path, file: str) -> None:
    path = str(folder / file)
    foreign = with_rows(read_torch(path, NETWORKS), path, "auto", 0)
    rows = np.load(folder / "rows.npy")[:, : foreign.network.embedding_size]
    np.testing.assert_array_equal(foreign.head["fc7_weight"], rows)
    assert any(ROWS[file] in note for note in foreign.notes), foreign.notes
    assert ("fc7_bias" in foreign.head) == (file == "softmax.pth")


@pytest.mark.parametrize("file", REFUSED)
def test_another_file_is_one_line(folder: Path, file: str) -> None:
    with pytest.raises(UserError, match=REFUSED[file]) as caught:
        read_torch(folder / file, NETWORKS)
    assert "\n" not in str(caught.value)
