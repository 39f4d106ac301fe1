"""One network as a snapshot, an MXNet checkpoint and an ONNX file: verification prints the same results."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbones import build_network
from interchange.converted_snapshot import ConvertedModel, write_converted
from sample_config import generate_config
from tests.support.commands import run

STEP = 7


@pytest.mark.slow
@pytest.mark.parametrize("network", ["y1", "mnas025"])
def test_verification_prints_the_same_of_every_format(tmp_path: Path, random_arrays, network: str) -> None:
    config = generate_config(network, "orl", "arcface")
    graph = build_network(config)
    write_converted(tmp_path / "snapshot", ConvertedModel(config, graph, random_arrays(graph, 4), {}, []), {})
    run("tools/dataset_convert/orl_2_recordio.py", "--output_dir", "faces", folder=tmp_path)
    run(
        "tools/model_convert/oneflow_2_mxnet.py",
        "--of_model_dir",
        "snapshot",
        "--mxnet_save_prefix",
        "mxnet/model",
        "--mxnet_save_epoch",
        str(STEP),
        folder=tmp_path,
    )
    run("tools/oneflow2onnx.py", "--model_load_dir", "snapshot", "--onnx_path", "model.onnx", folder=tmp_path)
    printed = []
    for model in ("snapshot", f"mxnet/model,{STEP}", "model.onnx"):
        done = run(
            "insightface_val.py",
            "--model_load_dir",
            model,
            "--network",
            network,
            "--dataset",
            "orl",
            "--device",
            "cpu",
            "--orl_dataset_dir",
            "faces/orl.bin",
            folder=tmp_path,
        )
        assert "Accuracy-Flip" in done.stdout
        printed.append(done.stdout.replace(f"[{STEP}]", "[0]"))
    assert printed[0] == printed[1] == printed[2]
    print(printed[0])
