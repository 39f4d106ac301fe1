"""Command lines of InsightFace's verification.py mean here what they meant there."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from interchange.mxnet.checkpoint import write_checkpoint
from settings import verify_command
from settings.legacy.flags import OLD_FLAGS, VERIFICATION
from settings.verify_command import VerifyCommand, read_verify_command
from tests.support.tiny import tiny_network

# As in deploy/src/eval of the original.
FLAGS = ("--data_dir", "--model", "--target", "--gpu", "--batch_size", "--max", "--mode", "--nfolds")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the epochs 1, 2 and 7, and the sets lfw and mine."""
    folder = tmp_path_factory.mktemp("verification_py")
    network = tiny_network()
    for epoch in (1, 2, 7):
        write_checkpoint(folder / "model", epoch, network, initial_arrays(network, epoch))
    (folder / "data").mkdir()
    for name in ("lfw", "mine"):
        (folder / "data" / f"{name}.bin").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    about = {"network": "unknown", "loss": "", "dataset": "", "image_size": 16, "emb_size": 16}
    monkeypatch.setattr(verify_command, "describe_model", lambda name: about)  # it takes seconds


def read(folder: Path, line: str) -> VerifyCommand:
    return read_verify_command(line.split(), folder)


def test_the_table_has_its_flags() -> None:
    assert {row.flag for row in OLD_FLAGS if VERIFICATION in row.parsers} == set(FLAGS)


def test_its_usual_command(folder: Path) -> None:
    command = read(folder, "--model model,7 --data-dir data --target lfw --batch-size 12 --nfolds 5 --mode 0 --max=")
    config = command.config
    assert config.models == ["model,7"] and config.model_load_dir == "model,7"
    assert (config.val_targets, config.val_dataset_dir) == (["lfw"], "data")
    assert (config.val_batch_size, config.nrof_folds, config.bad_cases) == (12, 5, 0)
    assert command.notices == ()
    assert "--model_load_dir model,7" in command.translation and "--val_dataset_dir data" in command.translation
    again = read_verify_command(command.translation.split(), folder)
    assert dict(again.config) == dict(config)


def test_its_default_sets_are_those_that_exist(folder: Path) -> None:
    assert read(folder, "--model model,7 --data-dir data").config.val_targets == ["lfw"]
    command = read(folder, "--model model,7 --data-dir data --target lfw,cfp_fp,mine")
    assert command.config.val_targets == ["lfw", "mine"]
    assert command.notices == ("no cfp_fp in data: not verified, as in InsightFace's trainers",)
    with pytest.raises(UserError, match="--data_dir data has none of cfp_fp"):
        read(folder, "--model model,7 --data-dir data --target cfp_fp")
    with pytest.raises(UserError, match="--data_dir nowhere is not a folder"):
        read(folder, "--model model,7 --data-dir nowhere")


@pytest.mark.parametrize(
    ("line", "epochs"),
    [
        ("model", [7, 2, 1]),
        ("model --max 0,2", [7, 2]),
        ("model --max 1,3", [7, 2, 1]),
        ("model --max 1,2", [2]),
        ("model,1|7", [1, 7]),
    ],
)
def test_epochs(folder: Path, line: str, epochs: list[int]) -> None:
    config = read(folder, f"--model {line} --data-dir data").config
    assert config.models == [f"model,{epoch}" for epoch in epochs]


def test_mode_1_shows_bad_cases(folder: Path) -> None:
    config = read(folder, "--model model,7 --data-dir data --mode 1").config
    assert (config.bad_cases, config.report) == (20, "badcases")
    config = read(folder, "--model model,7 --data-dir data --mode 1 --report there --bad_cases 3").config
    assert (config.bad_cases, config.report) == (3, "there")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--model other", "--model other: there is no other-0000.params or that of another epoch"),
        ("--model model --max 3", "--max 3 must be two whole numbers"),
        ("--model model --max 2,2", "--max 2,2 leaves none of the epochs"),
        ("--model model,7 --mode 2", "--mode 2 writes embeddings: use tools/embed.py"),
        ("--model model,7 --mode 3", "--mode 3 is unknown"),
        ("--model model,7 --batch-size few", "--batch_size 'few' is not a whole number"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(folder, f"{line} --data-dir data")
    assert "\n" not in str(caught.value)


def test_gpus_are_chosen_elsewhere(folder: Path) -> None:
    said = read(folder, "--model model,7 --data-dir data --gpu 1").notices
    assert "--gpu has no effect: CUDA_VISIBLE_DEVICES chooses GPUs" in said


def test_several_models_in_the_flags_of_this_program(folder: Path) -> None:
    argv = "--val_targets lfw --val_dataset_dir data --model_load_dir model,1 --model_load_dir model,*"
    assert read(folder, argv).config.models == ["model,1", "model,2", "model,7"]
    with pytest.raises(UserError) as caught:
        read(folder, f"{argv} --network y1")
    assert str(caught.value).splitlines() == [
        f"--network y1: model,{epoch} is of network unknown" for epoch in (1, 2, 7)
    ]


def test_flags_that_need_others(folder: Path) -> None:
    argv = "--val_targets lfw,mine --val_dataset_dir data --model_load_dir model,1"
    with pytest.raises(UserError) as caught:
        read(folder, f"{argv} --bad_cases 5 --group_pairs pairs.txt")
    assert [line.split(" needs")[0].split(" names")[0] for line in str(caught.value).splitlines()] == [
        "--bad_cases 5",
        "--group_pairs pairs.txt",
        "--group_pairs pairs.txt",
    ]
    said = read(folder, "--val_targets mine --val_dataset_dir data --model_load_dir model,1 --published 1").notices
    assert said == (
        "--published 1 has no effect: there are published accuracies of agedb_30, cfp_ff, cfp_fp, lfw alone",
    )
    with pytest.raises(UserError, match="--groups sets compares sets, and --val_targets has one"):
        read(folder, "--val_targets lfw --val_dataset_dir data --model_load_dir model,1 --groups sets")
