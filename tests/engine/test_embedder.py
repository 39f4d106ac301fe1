"""Any trained model as a function from images to embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from engine.embedder import Embedder
from interchange.converted_snapshot import ConvertedModel, write_converted
from interchange.embedders import oneflow_embedder
from interchange.mxnet.checkpoint import write_checkpoint
from interchange.onnx.writer import write_onnx
from interchange.pytorch.state import write_torch
from settings.config_file import merge, sample_tables
from tests.support.conversion import relative_error

NETWORK = "mbf"  # all formats have it


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network in every format, with images and their embeddings."""
    folder = tmp_path_factory.mktemp("models")
    config = merge(sample_tables(), NETWORK, "orl", "arcface")
    network = build_network(config)
    arrays = initial_arrays(network, 3)
    onnx.save(write_onnx(network, arrays, {}), folder / "model.onnx")
    write_checkpoint(folder / "model", 7, network, arrays)
    write_torch(folder / "model.pth", network, arrays)
    write_torch(folder / "model.safetensors", network, arrays)
    write_converted(folder / "snapshot", ConvertedModel(config, network, arrays, {}, []), {})
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 112, 112), np.uint8)
    np.save(folder / "images.npy", images)
    np.save(folder / "embeddings.npy", oneflow_embedder(network, arrays)(images))
    return folder


@pytest.mark.parametrize("name", ["model.onnx", "model,7", "model.pth", "model.safetensors", "snapshot"])
def test_every_format_opens_and_embeds(folder: Path, name: str) -> None:
    embed = Embedder.open(f"{folder}/{name}", batch_size=2)
    embeddings = embed(np.load(folder / "images.npy"))  # three batches, the last one padded
    assert embeddings.dtype == np.float32
    assert relative_error(embeddings, np.load(folder / "embeddings.npy")) < 1e-5


@pytest.fixture(scope="module")
def embed(folder: Path) -> Embedder:
    return Embedder.open(f"{folder}/model.onnx")


def test_few_images_do_not_take_the_time_of_a_whole_batch(folder: Path, embed: Embedder) -> None:
    images = np.resize(np.load(folder / "images.npy"), (20, 3, 112, 112))
    direct, sizes = embed._direct, []
    embed._direct = lambda mine: sizes.append(len(mine)) or direct(mine)
    for count in (1, 2, 5, 17):
        embeddings = embed(images[:count])
        expected = np.load(folder / "embeddings.npy")[np.arange(count) % 5]
        assert relative_error(embeddings, expected) < 1e-5
    assert sizes == [1, 4, 16, 64]


def test_no_images_have_no_embeddings(folder: Path, embed: Embedder) -> None:
    assert embed(np.zeros((0, 3, 112, 112), np.uint8)).shape == (0, np.load(folder / "embeddings.npy").shape[1])


def test_a_model_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing"):
        Embedder.open(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 112, 112, 3), np.uint8), r"uint8 \[2, 112, 112, 3\] cannot be embedded"),
        (np.zeros((3, 112, 112), np.uint8), r"uint8 \[3, 112, 112\] cannot be embedded"),
        (np.zeros((2, 3, 112, 112), np.float32), r"the network takes an array of uint8 \[N, 3, 112, 112\]"),
        ([], "a list cannot be embedded"),
    ],
)
def test_arrays_that_are_not_images_are_an_error(embed: Embedder, images: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        embed(images)
