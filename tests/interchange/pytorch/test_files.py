"""Files that PyTorch itself wrote, and what it makes of ours; where .venv-peers has it (``make bench`` makes it)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from interchange.embedders import oneflow_embedder
from interchange.matching.adapt import Adaptation
from interchange.onnx.reader import read_onnx
from interchange.pytorch.state import read_state, read_torch, write_torch
from sample_config import network as NETWORKS
from tests.support.conversion import bring_in, relative_error
from tests.support.faces import orl_faces

PROGRAM = Path(__file__).with_name("torch_program.py")
ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-peers/bin/python"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
NAMES = ("mbf", "mbf_large", "iresnet18")

pytestmark = pytest.mark.slow


def run_torch(*arguments: object) -> None:
    command = [str(PYTHON), str(PROGRAM), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", params=NAMES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A network, and the folder with all that PyTorch saved of it."""
    needs = "import torch, onnx, onnxscript, safetensors"
    if not PYTHON.exists() or subprocess.run([str(PYTHON), "-c", needs], capture_output=True).returncode:
        pytest.skip("no .venv-peers with PyTorch and its exporters: run benchmarks/setup_peers.sh")
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "images.npy", orl_faces(3))
    run_torch("export", request.param, folder)
    return request.param, folder


def require_same_embeddings(adaptation: Adaptation, network, folder: Path) -> None:
    embeddings = oneflow_embedder(network, adaptation.arrays)(np.load(folder / "images.npy"))
    assert relative_error(embeddings, np.load(folder / "export.npy")) < 1e-4


@pytest.mark.parametrize("file", ["plain.onnx", "folded.onnx", "new.onnx"])
def test_what_torch_exports_is_recognised_and_agrees(saved: tuple[str, Path], file: str) -> None:
    name, folder = saved
    foreign = read_onnx(folder / file)
    assert not foreign.preprocesses
    found, adaptation = bring_in(foreign)
    assert found.name == name
    folded = any("folded into its layer" in note for note in adaptation.notes)
    assert folded == (file != "plain.onnx")
    require_same_embeddings(adaptation, found.network, folder)


def test_a_model_in_pieces_is_refused_with_what_helps(saved: tuple[str, Path]) -> None:
    with pytest.raises(UserError, match="lies in another file; save the model as one file .*external_data=False"):
        read_onnx(saved[1] / "pieces.onnx")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_state_dict_is_recognised_and_goes_back_bit_by_bit(saved: tuple[str, Path], suffix: str) -> None:
    name, folder = saved
    foreign = read_torch(folder / f"backbone.{suffix}", NETWORKS)
    found, adaptation = bring_in(foreign)
    assert found.name == name
    require_same_embeddings(adaptation, found.network, folder)
    write_torch(folder / f"back.{suffix}", found.network, adaptation.arrays)
    given, written = (read_state(folder / f"{name}.{suffix}")[0] for name in ("backbone", "back"))
    assert given.keys() == written.keys()
    for key, values in given.items():
        assert written[key].dtype == values.dtype
        if not adaptation.notes:
            assert np.asarray(written[key]).tobytes() == np.asarray(values).tobytes(), key


def test_torch_loads_what_is_written(saved: tuple[str, Path]) -> None:
    name, folder = saved
    found, adaptation = bring_in(read_torch(folder / "backbone.pth", NETWORKS))
    write_torch(folder / "back.pth", found.network, adaptation.arrays)
    run_torch("embed", name, folder, folder / "back.pth")
    assert relative_error(np.load(folder / "embed.npy"), np.load(folder / "export.npy")) < 1e-5
