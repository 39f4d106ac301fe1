"""Protocols while training: the same on 1, 2 and 4 ranks, and the numbers of the commands with the same network."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from backbones.graph.initializer import initial_arrays
from evaluation.megaface import report as megaface_report
from evaluation.templates import report as ijb_report
from interchange.onnx.writer import write_onnx
from interchange.open_model import open_model
from tests.multirank import protocols_program
from tests.support.protocol_sets import ALL, write_sets
from tests.support.ranks import run_ranks
from tests.support.tiny import IMAGE_SIZE, tiny_network
from tools import embed
from tools.evaluate import identify, ijb, megaface, pairs

PROGRAM = Path(protocols_program.__file__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protocols")
    write_sets(folder, IMAGE_SIZE)
    network = tiny_network()
    onnx.save(write_onnx(network, initial_arrays(network, 3), {}), folder / "tiny.onnx")
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """What each rank of 1, 2 and 4 found."""
    named = [f"{kind}:{folder / place}" for kind, place in (entry.split(":") for entry in ALL.split(","))]
    config = {"val_protocols": named, "val_targets": ["pairs"], "val_dataset_dir": str(folder), "val_data_part_num": 0}
    config |= {"val_batch_size": 0, "val_batch_size_per_device": 7, "nrof_folds": 5, "far_targets": [0.1]}
    return {ranks: run_ranks(PROGRAM, ranks, config) for ranks in (1, 2, 4)}


def test_all_ranks_find_the_same(found: dict[int, list[dict[str, Any]]]) -> None:
    alone = found[1][0]["outcomes"]
    assert list(alone) == ["identify", "megaface", "ijb", "groups"]
    for results in found.values():
        for result in results:
            for name, (lines, numbers) in result["outcomes"].items():
                assert [line.split(": ")[0] for line in lines] == [line.split(": ")[0] for line in alone[name][0]]
                assert all(line.startswith(f"[{name}][5]") for line in lines)
                kept = {key: value for key, value in numbers.items() if key != "seconds"}
                assert kept == pytest.approx({key: alone[name][1][key] for key in kept}, abs=1e-5, nan_ok=True), name
            for mine, expected in zip(result["search"], found[1][0]["search"], strict=True):
                assert np.array_equal(mine, expected)


@pytest.fixture
def tool(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that runs a command in the folder of the sets, without its pictures, which take seconds."""
    monkeypatch.chdir(folder)
    for module, names in (
        (megaface_report, ("draw_cmc", "draw_roc")),
        (ijb_report, ("draw_verification", "draw_identification")),
        (pairs, ("write_model_report",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda *_: None)
    open_once = functools.cache(open_model)  # it takes seconds to see that a network is none of ours
    for module in (identify, ijb, embed):
        monkeypatch.setattr(module, "open_model", open_once)

    def run(module: Any, words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["tool", *words.split()])
        module.main()

    return run


def test_the_numbers_are_those_of_the_commands(
    found: dict[int, list[dict[str, Any]]], tool: Any, tmp_path: Path
) -> None:
    outcomes = {name: numbers for name, (_, numbers) in found[2][0]["outcomes"].items()}
    model = "--model_load_dir tiny.onnx --device cpu"

    tool(identify, f"--gallery own/gallery --probes own/probes {model} --output {tmp_path}/own --confusions 0")
    expected = json.loads((tmp_path / "own" / "identification.json").read_text())
    assert {key: outcomes["identify"][f"rank_{key}"] for key in expected["rank"]} == expected["rank"]
    assert 0 < expected["rank"]["1"] < 1
    rate = expected["open_set"][1]
    assert outcomes["identify"]["tpir_at_fpir_0.1"] == rate["tpir"]
    assert outcomes["identify"]["cosine_at_fpir_0.1"] == pytest.approx(rate["threshold"], abs=1e-5)
    assert np.isnan(outcomes["identify"]["tpir_at_fpir_0.01"])

    for kind in ("facescrub", "megaface"):
        tool(embed, f"--input mega/{kind}_lst --root mega/{kind}_images {model} --output {tmp_path}/{kind}.npz")
    words = f"--facescrub {tmp_path}/facescrub.npz --megaface {tmp_path}/megaface.npz --size 70 --output {tmp_path}/m"
    tool(megaface, f"{words} --megaface_noises mega/megaface_noises.txt")
    expected = json.loads((tmp_path / "m" / "megaface.json").read_text())["results"][0]
    assert {key: outcomes["megaface"][f"rank_{key}"] for key in expected["rank"]} == expected["rank"]
    assert 0 < expected["rank"]["1"] < 1
    assert outcomes["megaface"]["tar_at_far_0.001"] == expected["tar_at_far"]["0.001"]["tar"]

    tool(ijb, f"--data_dir IJBC {model} --output {tmp_path}/ijb")
    expected = json.loads((tmp_path / "ijb" / "report.json").read_text())["modes"]["N1D1F2"]
    for point in expected["verification"]["points"]:
        value = outcomes["ijb"][f"tpr_at_fpr_{point['fpr_target']:g}"]
        assert value == point["tpr"] if point["reachable"] else np.isnan(value)
    assert outcomes["ijb"]["auc"] == pytest.approx(expected["verification"]["auc"], abs=1e-5)
    closed, mean = expected["identification"]["closed"], expected["identification"]["mean"]
    for rank in (1, 5, 10):
        assert outcomes["ijb"][f"rank_{rank}"] == closed[f"rank_{rank}"]
        assert outcomes["ijb"][f"open_rank_{rank}"] == mean[f"rank_{rank}"]
    assert [outcomes["ijb"][f"tpir_at_fpir_{rate}"] for rate in (0.01, 0.1)] == [p["tpir"] for p in closed["points"]]
    assert outcomes["ijb"]["open_tpir_at_fpir_0.1"] == mean["points"][3]["tpir"]

    tool(embed, f"--input pairs.bin {model} --output {tmp_path}/pairs.npz")
    words = f"--embeddings {tmp_path}/pairs.npz --groups groups.txt --nrof_folds 5 --far_targets 0.1"
    tool(pairs, f"{words} --output {tmp_path}/pairs")
    expected = json.loads((tmp_path / "pairs" / "groups.json").read_text())
    for name, group in expected["groups"].items():
        assert outcomes["groups"][f"accuracy_{name}"] == group["accuracy"]
        assert outcomes["groups"][f"tar_at_far_0.1_{name}"] == expected["rates"][0]["tar"][name]
    assert outcomes["groups"]["accuracy_difference"] == pytest.approx(expected["spread"]["difference"])
