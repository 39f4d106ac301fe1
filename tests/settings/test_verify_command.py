"""Every flag of the older insightface_val.py in all its versions: it sets what it says, or is announced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from interchange.converted_snapshot import ConvertedModel, write_converted
from settings.config_file import merge
from settings.legacy.flags import OLD_FLAGS, VAL, VERIFICATION, rows_beyond
from settings.tables import sample_tables
from settings.verify_command import VAL_TABLE, read_verify_command
from tests.settings.legacy.old_config_files import change, write
from tests.support.tiny import tiny_network

MODEL = "{folder}/model"
# What each sets; none: it is announced. As it was last, then the flags of its earlier versions.
VAL_FLAGS: dict[str, tuple[str, dict[str, Any]]] = {
    "--network": ("r100", {"network": "r100"}),
    "-network": ("r100", {"network": "r100"}),
    "--lfw_dataset_dir": ("there", {"lfw_dataset_dir": "there"}),
    "--cfp_fp_dataset_dir": ("there", {"cfp_fp_dataset_dir": "there"}),
    "--agedb_30_dataset_dir": ("there", {"agedb_30_dataset_dir": "there"}),
    "--val_data_part_num": ("1", {"val_data_part_num": 1}),
    "--lfw_total_images_num": ("12000", {}),
    "--cfp_fp_total_images_num": ("14000", {}),
    "--agedb_30_total_images_num": ("12000", {}),
    "--device_num_per_node": ("3", {"device_num_per_node": 3}),
    "--num_nodes": ("1", {"num_nodes": 1}),
    "--val_batch_size_per_device": ("8", {"val_batch_size_per_device": 8}),
    "--nrof_folds": ("5", {"nrof_folds": 5}),
    "--log_dir": ("there", {"log_dir": "there"}),
    "--model_load_dir": (MODEL, {"model_load_dir": MODEL}),
    "--dataset": ("orl", {"val_targets": ["orl"], "val_dataset_dir": "datasets/faces_orl/ofrecord"}),
    "--loss": ("arcface", {}),
    "--gpu_num_per_node": ("3", {"device_num_per_node": 3}),
    "--lfw_data_dir": ("there", {"lfw_dataset_dir": "there", "val_targets": ["lfw"]}),
    "--lfw_batch_size": ("12", {"val_batch_size": 12}),
    "--lfw_data_part_num": ("1", {}),
    "--val_dataset": ("lfw", {"val_targets": ["lfw"]}),
    "--target": ("lfw", {"val_targets": ["lfw"]}),
    "--nfolds": ("5", {"nrof_folds": 5}),
    "--max": ("", {}),
    "--mode": ("0", {}),
}
SAME = {"--network", "-network", "--num_nodes", "--model_load_dir"}  # no other value is possible here
OF_TRAINING = [
    row for row in rows_beyond({option.key for option in VAL_TABLE}) if not {VAL, VERIFICATION} & {*row.parsers}
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a model, trained with a network that is called r100."""
    folder = tmp_path_factory.mktemp("folder")
    config, network = merge(sample_tables(), "r100", "emore", "arcface"), tiny_network()
    write_converted(folder / "model", ConvertedModel(config, network, initial_arrays(network, 1), {}, ()), {})
    return folder


def read(folder: Path, *argv: str) -> tuple[dict[str, Any], list[str]]:
    command = read_verify_command(["--model_load_dir", str(folder / "model"), *argv], folder)
    return command.config, [*command.notices]


@pytest.mark.parametrize("flag", VAL_FLAGS)
def test_a_flag_has_its_effect_or_is_announced(folder: Path, flag: str) -> None:
    value, settings = VAL_FLAGS[flag]
    (before, nothing), (after, said) = read(folder), read(folder, flag, value.format(folder=folder))
    assert nothing == []
    if not settings:
        assert after == before and len(said) == 1 and said[0].startswith(f"{flag} has no effect: ")
        return
    for key, setting in settings.items():
        expected = setting.format(folder=folder) if isinstance(setting, str) else setting
        assert after[key] == expected and (flag in SAME or before.get(key) != expected)
    assert len(said) == (flag == "--lfw_data_dir")


@pytest.mark.parametrize("row", OF_TRAINING, ids=lambda row: row.flag)
def test_a_flag_of_training_is_announced(folder: Path, row: Any) -> None:
    value = "96,96,3" if row.name == "image_shape" else "3"
    after, (said,) = read(folder, row.flag, value)
    assert after == read(folder)[0]
    assert said == f"--{row.name} has no effect: {row.notice or 'it is about training'}"


def test_the_table_has_these_flags_and_no_others() -> None:
    assert {row.flag for row in OLD_FLAGS if VAL in row.parsers} == set(VAL_FLAGS)


def test_sets_that_are_named_are_verified(folder: Path) -> None:
    argv = ["--dataset", "orl", "--cfp_fp_dataset_dir", "there"]
    config, said = read(folder, *argv)
    assert (config["val_targets"], config["cfp_fp_dataset_dir"]) == (["orl", "cfp_fp"], "there")
    assert said == ["--cfp_fp_dataset_dir: cfp_fp is verified too; --val_targets chooses"]
    with pytest.raises(UserError, match="unknown flag --cfp_fp_dataset_dir there"):
        read(folder, *argv, "--val_targets", "orl")
    config, (said,) = read(folder, "--lfw-data-dir=there")
    assert config["val_targets"] == ["lfw"]
    assert said == "--lfw_data_dir: lfw alone is verified, as when the flag had this name; --val_targets chooses"
    config, said = read(folder, "--lfw_data_dir", "there", "--val_targets", "lfw,cfp_fp")
    assert (config["val_targets"], said) == (["lfw", "cfp_fp"], [])


def test_the_networks_of_the_first_port(folder: Path) -> None:
    assert read(folder, "--network", "resnet100")[0]["network"] == "r100"
    with pytest.raises(UserError, match="--network y1: .*/model is of network r100"):
        read(folder, "--network", "mobilefacenet")


def test_the_sets_of_an_older_file(folder: Path, tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    faces.mkdir()
    (faces / "lfw.bin").write_bytes(b"")
    tables = change(dataset__mine={"dataset_path": str(faces)}, default={"val_batch_size_per_device": 7})
    place = write(tmp_path, tables)
    command = read_verify_command(["--model_load_dir", str(folder / "model"), "--dataset", "mine"], place)
    config = command.config
    assert (config.val_targets, config.val_dataset_dir) == (["lfw"], str(faces))
    assert command.notices == (f"no cfp_fp, agedb_30 in {faces}: not verified, as in InsightFace's trainers",)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--lfw_images 3", "unknown flag --lfw_images 3; --help lists the flags"),
        ("--gpu_num_per_node 1 --device_num_per_node 2", "contradict each other; give one"),
        ("--device_num_per_node few", "--device_num_per_node 'few' is not a whole number"),
        ("--nfolds 1", "--nrof_folds 1 must be at least 2"),
        ("--far_targets 0", r"--far_targets \[0.0\] must be false accept rates"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(folder: Path, argv: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(folder, *argv.split())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("targets", ["lfw,lfw", "lfw, lfw.bin"])
def test_a_set_named_twice_is_an_error(folder: Path, targets: str) -> None:
    with pytest.raises(UserError, match="^--val_targets: lfw occurs more than once; name each set once$"):
        read(folder, "--val_targets", targets)


def test_a_set_may_be_named_by_its_file(folder: Path) -> None:
    assert read(folder, "--val_targets", "lfw.bin,calfw")[0].val_targets == ["lfw", "calfw"]


def test_sets_that_lie_beside_are_mentioned_unless_the_sets_were_chosen(folder: Path, tmp_path: Path) -> None:
    for name in ("lfw", "vgg2_fp", "calfw"):
        (tmp_path / f"{name}.bin").write_bytes(b"\x80")  # the first byte of a pickle
    place = ["--val_dataset_dir", str(tmp_path), "--dataset", "emore"]
    assert read(folder, *place)[1] == [f"{tmp_path} also has calfw, vgg2_fp, not verified; --val_targets chooses"]
    assert read(folder, *place, "--val_targets", "lfw")[1] == []


def test_a_snapshot_says_itself_how_it_takes_images(folder: Path) -> None:
    for flag, value in (("--color_order", "bgr"), ("--input_mean", "0"), ("--input_scale", "1/255")):
        with pytest.raises(UserError, match="is a snapshot and says how it takes images; omit --color_order"):
            read(folder, flag, value)
    with pytest.raises(UserError, match="--input_scale '1/0' is not a number >= 0 such as 0.0078125 or 1/128"):
        read(folder, "--input_scale", "1/0")
