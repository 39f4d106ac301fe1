"""What a run takes over from a network with other sizes, and what is said about the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from easydict import EasyDict

from backbones import build_network
from backbones.graph.arrays import fit_arrays
from common.errors import UserError
from interchange.converted_snapshot import ConvertedModel, write_converted
from interchange.mxnet.checkpoint import write_checkpoint
from interchange.onnx.writer import write_onnx
from interchange.pretrained import read_pretrained
from sample_config import generate_config

NORM = ("fc1_gamma", "fc1_beta", "fc1_moving_mean", "fc1_moving_var")
ANEW = {"emb_size": ("pre_fc1_weight", "pre_fc1_bias", *NORM), "image_size": ("pre_fc1_weight", "pre_fc1_bias")}
OTHER = {"emb_size": 8, "image_size": 128}


def settings(**changes: Any) -> EasyDict:
    """Return the settings of a run of a small y1."""
    config = generate_config("y1", "orl", "arcface")
    config.update({"net_blocks": [1, 1, 1, 1], "emb_size": 16, "partial_load": True, **changes})
    return config


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A snapshot and an ONNX file of one network with drawn weights."""
    folder, config = tmp_path_factory.mktemp("given"), settings()
    network, rng = build_network(config), np.random.default_rng(2)
    arrays = {name: rng.uniform(0.5, 1, spec.shape).astype(np.float32) for name, spec in network.parameters().items()}
    arrays |= {name: np.ones_like(arrays[name]) for name, spec in network.parameters().items() if spec.fixed}
    write_converted(folder / "snapshot_1", ConvertedModel(config, network, arrays, {}, []), {})
    onnx.save(write_onnx(network, arrays, {}), folder / "y1.onnx")
    return {"snapshot": folder / "snapshot_1", "onnx": folder / "y1.onnx"}


@pytest.mark.parametrize("kind", ["snapshot", "onnx"])
@pytest.mark.parametrize("key", OTHER)
def test_layers_that_fit_are_kept_and_the_others_named(models: dict[str, Path], key: str, kind: str) -> None:
    whole = read_pretrained(str(models[kind]), build_network(settings()), settings(partial_load=False))
    assert not whole.anew and whole.describe() == f"{len(whole.arrays)} arrays of the backbone"
    config = settings(**{key: OTHER[key]})
    network = build_network(config)
    part = read_pretrained(str(models[kind]), network, config)
    assert part.anew == ANEW[key] and part.unused == ()
    assert {*part.arrays, *part.anew} == set(network.parameters())
    for name, array in part.arrays.items():
        assert array.tobytes() == whole.arrays[name].tobytes(), name
    total = len(network.parameters())
    names = ", ".join(ANEW[key])
    assert part.describe() == (
        f"{total - len(part.anew)} of {total} arrays of the backbone; {len(part.anew)} start anew: {names}"
    )


@pytest.mark.parametrize("kind", ["snapshot", "onnx"])
def test_without_the_flag_what_does_not_fit_is_one_line(models: dict[str, Path], kind: str) -> None:
    config = settings(emb_size=8, partial_load=False)
    with pytest.raises(UserError) as caught:
        read_pretrained(str(models[kind]), build_network(config), config)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(models[kind]))
    assert "does not fit: pre_fc1_weight is (16, 512), this run's (8, 512); pre_fc1_bias is (16,)" in message
    assert re.search(r"--partial_load 1 keeps 1\d\d arrays, and 6 start anew$", message)


def test_another_network_is_refused_with_the_flag_too(models: dict[str, Path]) -> None:
    config = EasyDict({**generate_config("vit_t", "orl", "arcface"), "partial_load": True, "num_layers": 2})
    network = build_network(config)
    few = r"\(network y1\) is of another network: 0 of its \d+ arrays fit this run's \d+; patch_embed"
    with pytest.raises(UserError, match=few) as caught:
        read_pretrained(str(models["snapshot"]), network, config)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    with pytest.raises(UserError, match="y1.onnx is of another network: where it has"):
        read_pretrained(str(models["onnx"]), network, config)


def test_a_layer_fits_with_all_of_its_arrays(random_arrays: Callable) -> None:
    network = build_network(settings())
    arrays = random_arrays(network, 1)
    del arrays["conv_1_batchnorm_beta"]
    arrays["more"] = np.zeros(3, np.float32)
    fit = fit_arrays(network, arrays)
    assert {name.rsplit("_", 1)[0] for name in fit.anew} == {"conv_1_batchnorm", "conv_1_batchnorm_moving"}
    assert len(fit.anew) == 4 and fit.unused == ("more",)
    assert fit.problems == ("conv_1_batchnorm_beta (64,) is missing", "more is not one of this network's")


def test_class_rows_that_are_not_taken_are_said(models: dict[str, Path], tmp_path: Path) -> None:
    network = build_network(settings())
    arrays = read_pretrained(str(models["snapshot"]), network).arrays
    write_checkpoint(tmp_path / "mx", 0, network, arrays, {"fc7_weight": np.ones((4, 16), np.float32)})
    for name, is_said in ((f"{tmp_path / 'mx'},0", True), (str(models["onnx"]), False)):
        notes = read_pretrained(name, network).notes
        assert any(note.startswith("its class rows are not taken") for note in notes) == is_said
