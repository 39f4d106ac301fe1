"""Every flag of the three older parsers, listed here from their sources: it sets what it says, or is announced."""

from __future__ import annotations

import functools
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from settings.legacy.command import rewrite_training
from settings.legacy.flags import MXNET, OLD_FLAGS, PORT, SOFTMAX, OldFlag, rows_beyond, table_lines
from settings.options import TRAIN_TABLE
from settings.parser import split_command
from settings.tables import sample_tables
from settings.train_command import TrainCommand, read_train_command

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Sets:
    """With ``value`` the flag makes these settings differ, and no others, from a run with ``base`` alone."""

    value: str
    settings: dict[str, Any] = field(hash=False)
    base: str = ""


@dataclass(frozen=True)
class Announced:
    """The flag changes nothing, and the run says so."""

    value: str
    base: str = ""


SPHERE, COMBINED = "--loss sphereface", "--loss combined"
_LFW = "--val_targets lfw,cfp_fp,agedb_30"
# In the order of the sources. Values are never the defaults.
MXNET_FLAGS = {
    "--dataset": Sets("retina", {"dataset": "retina", "num_classes": 93431}),
    "--network": Sets("y1", {"network": "y1", "emb_size": 128}),
    "--loss": Sets("cosface", {"loss": "cosface", "loss_m3": 0.35}),
    "--models-root": Sets("here", {"models_root": "here"}),
    "--pretrained": Sets("here", {"pretrained": "here"}),
    "--pretrained-epoch": Sets("7", {"pretrained": "here,7"}, "--pretrained here"),
    "--ckpt": Sets("1", {"ckpt": 1, "iter_num_in_snapshot": 0, "save_last_snapshot": False}),
    "--verbose": Sets("17", {"validation_interval": 17, "iter_num_in_snapshot": 17}),
    "--lr": Sets("0.5", {"lr": 0.5}),
    "--lr-steps": Sets("10,20", {"lr_steps": [10, 20], "scales": [0.1, 0.01]}),
    "--wd": Sets("0.5", {"weight_decay": 0.5}),
    "--mom": Sets("0.5", {"momentum": 0.5}),
    "--frequent": Sets("3", {"loss_print_frequency": 3}),
    "--per-batch-size": Sets("3", {"train_batch_size_per_device": 3}),
    "--kvstore": Announced("device"),
    "--worker-id": Sets("1", {"node_rank": 1}, "--num_nodes 2 --node_ips a,b --master_port 1"),
    "--extra-model-name": Sets("x", {"extra_model_name": "x"}),
    "--fp16-scale": Sets("64", {"fp16_scale": 64.0}),
}
SOFTMAX_FLAGS = {
    "--data-dir": Sets(
        "{data}",
        {
            "dataset": "faces",
            "dataset_dir": "{data}/ofrecord/train",
            "val_dataset_dir": "{data}",
            "num_classes": 17,
            "val_targets": ["lfw"],
        },
        "--loss-type 4",
    ),
    "--prefix": Sets("up/name", {"models_root": "up", "extra_model_name": "name"}),
    "--pretrained": Sets("here,3", {"pretrained": "here,3"}),
    "--ckpt": Sets("2", {"ckpt": 2, "iter_num_in_snapshot": 2000, "save_last_snapshot": True}, "--loss-type 4"),
    "--loss-type": Sets("5", {"loss": "combined", "loss_m1": 1.0, "loss_m2": 0.5, "loss_m3": 0.0}, "--loss-type 4"),
    "--verbose": Sets("17", {"validation_interval": 17}, "--loss-type 4"),
    "--max-steps": Sets("9", {"max_steps": 9}),
    "--end-epoch": Sets("9", {"end_epoch": 9}),
    "--network": Sets("r100", {"network": "r100", "num_layers": 100}, "--loss-type 4"),
    "--image-size": Sets("96,96", {"image_size": 96}),
    "--version-se": Sets("1", {"net_se": 1}),
    "--version-input": Sets("2", {"net_input": 2}),
    "--version-output": Sets("GDC", {"net_output": "GDC"}),
    "--version-unit": Sets("1", {"net_unit": 1}),
    "--version-multiplier": Sets("0.5", {"net_multiplier": 0.5}),
    "--version-act": Sets("relu", {"net_act": "relu"}),
    "--use-deformable": Announced("1"),
    "--lr": Sets("0.5", {"lr": 0.5}),
    "--lr-steps": Sets("10,20", {"lr_steps": [10, 20], "scales": [0.1, 0.01], "lr_steps_batch": 0}, "--loss-type 4"),
    "--wd": Sets("0.5", {"weight_decay": 0.5}),
    "--fc7-wd-mult": Sets("10", {"fc7_wd_mult": 10.0}),
    "--fc7-lr-mult": Sets("10", {"fc7_lr_mult": 10.0}),
    "--fc7-no-bias": Sets("", {"fc7_no_bias": True}),
    "--bn-mom": Sets("0.5", {"bn_mom": 0.5}),
    "--mom": Sets("0.5", {"momentum": 0.5}),
    "--emb-size": Sets("256", {"emb_size": 256}),
    "--per-batch-size": Sets("3", {"train_batch_size_per_device": 3}),
    "--margin-m": Sets("0.2", {"loss_m2": 0.2}, "--loss-type 4"),
    "--margin-s": Sets("30", {"loss_s": 30.0}),
    "--margin-a": Sets("0.9", {"loss_m1": 0.9}, "--loss-type 5"),
    "--margin-b": Sets("0.1", {"loss_m3": 0.1}, "--loss-type 5"),
    "--easy-margin": Sets("1", {"easy_margin": True}),
    "--margin": Sets("3", {"loss_m1": 3.0}, "--loss-type 1"),
    "--beta": Sets("900", {"loss_lambda_base": 900.0}, SPHERE),
    "--beta-min": Sets("3", {"loss_lambda_min": 3.0}, SPHERE),
    "--beta-freeze": Sets("7", {"loss_lambda_freeze": 7}, SPHERE),
    "--gamma": Sets("0.5", {"loss_lambda_gamma": 0.5}, SPHERE),
    "--power": Sets("2", {"loss_lambda_power": 2.0}, SPHERE),
    "--scale": Announced("0.5", SPHERE),
    "--rand-mirror": Sets("0", {"data_rand_mirror": False}),
    "--cutoff": Sets("8", {"data_cutoff": 8}),
    "--color": Sets("1", {"data_color": 1}),
    "--images-filter": Sets("3", {"data_images_filter": 3}),
    "--target": Sets("lfw", {"val_targets": ["lfw"]}),
    "--ce-loss": Sets("", {"ce_loss": True}, "--loss-type 4"),
}
# insightface_train.py as it was last, then the flags of its earlier versions.
PORT_FLAGS = {
    **{flag: MXNET_FLAGS[flag] for flag in ("--dataset", "--network", "--loss", "--lr", "--ckpt")},
    "--device_num_per_node": Sets("3", {"device_num_per_node": 3}),
    "--num_nodes": Sets("2", {"num_nodes": 2}, "--node_ips a,b --master_port 1"),
    "--node_ips": Sets("a,b", {"node_ips": ["a", "b"]}),
    "--model_parallel": Sets("False", {"model_parallel": False}),
    "--partial_fc": Sets("True", {"partial_fc": True}),
    "--train_batch_size": Sets("7", {"train_batch_size": 7}),
    "--use_synthetic_data": Sets("", {"use_synthetic_data": True}),
    "--do_validation_while_train": Sets("no", {"do_validation_while_train": False}),
    "--use_fp16": Sets("True", {"use_fp16": True}),
    "--nccl_fusion_threshold_mb": Sets("3", {"nccl_fusion_threshold_mb": 3}),
    "--nccl_fusion_max_ops": Sets("3", {"nccl_fusion_max_ops": 3}),
    "--train_unit": Sets("epoch", {"train_unit": "epoch"}),
    "--train_iter": Sets("7", {"train_iter": 7}),
    "--lr_steps": Sets("10,20,30", {"lr_steps": [10, 20, 30]}),
    "--weight_decay": Sets("0.5", {"weight_decay": 0.5}),
    "-wd": Sets("0.5", {"weight_decay": 0.5}),
    "--momentum": Sets("0.5", {"momentum": 0.5}),
    "-mom": Sets("0.5", {"momentum": 0.5}),
    "--scales": Sets("0.3,0.2,0.1", {"scales": [0.3, 0.2, 0.1]}),
    "--model_load_dir": Sets("here", {"model_load_dir": "here"}),
    "--models_root": Sets("here", {"models_root": "here"}),
    "--log_dir": Sets("here", {"log_dir": "here"}),
    "--loss_print_frequency": Sets("3", {"loss_print_frequency": 3}),
    "--iter_num_in_snapshot": Sets("3", {"iter_num_in_snapshot": 3}),
    "--save_last_snapshot": Sets("False", {"save_last_snapshot": False}),
    "--sample_ratio": Sets("0.5", {"sample_ratio": 0.5}),
    "--val_batch_size": Sets("3", {"val_batch_size": 3}),
    "--val_batch_size_per_device": Sets("3", {"val_batch_size_per_device": 3}),
    "--validation_interval": Sets("3", {"validation_interval": 3}),
    "--val_data_part_num": Sets("3", {"val_data_part_num": 3}),
    "--val_dataset_dir": Sets("here", {"val_dataset_dir": "here"}),
    "--lfw_total_images_num": Announced("12000"),
    "--cfp_fp_total_images_num": Announced("14000"),
    "--agedb_30_total_images_num": Announced("12000"),
    "--lfw_dataset_dir": Sets("here", {"lfw_dataset_dir": "here"}, _LFW),
    "--cfp_fp_dataset_dir": Sets("here", {"cfp_fp_dataset_dir": "here"}, _LFW),
    "--agedb_30_dataset_dir": Sets("here", {"agedb_30_dataset_dir": "here"}, _LFW),
    "--nrof_folds": Sets("3", {"nrof_folds": 3}),
    "--num_sample": Sets("8574", {"sample_ratio": 8574 / 85742}),
    "--gpu_num_per_node": Sets("3", {"device_num_per_node": 3}),
    "--do_validataion_while_train": Sets("no", {"do_validation_while_train": False}),
    "--validataion_interval": Sets("3", {"validation_interval": 3}),
    "--total_batch_num": Sets("3", {"train_iter": 3}),
    "--batch_num_in_snapshot": Sets("3", {"iter_num_in_snapshot": 3}),
    "--num_of_batches_in_snapshot": Sets("3", {"iter_num_in_snapshot": 3}),
    "--loss_print_steps": Sets("3", {"loss_print_frequency": 3}),
    "--base_lr": Sets("0.5", {"lr": 0.5}),
    "--train_data_dir": Sets("here", {"dataset_dir": "here"}),
    "--train_data_part_num": Sets("3", {"train_data_part_num": 3}),
    "--train_batch_size_per_device": Sets("3", {"train_batch_size_per_device": 3}),
    "--class_num": Sets("9", {"num_classes": 9}),
    "--model_save_dir": Sets("here", {"models_root": "here"}),
    "--models_name": Announced("fc7"),
    "--part_name_suffix_length": Announced("5"),
    "--channel_last": Announced("True"),
    "--pad_output": Announced(""),
    "--lfw_data_dir": Sets("here", {"lfw_dataset_dir": "here"}, _LFW),
    "--cfp_fp_data_dir": Sets("here", {"cfp_fp_dataset_dir": "here"}, _LFW),
    "--agedb_30_data_dir": Sets("here", {"agedb_30_dataset_dir": "here"}, _LFW),
    "--lfw_batch_size": Sets("3", {"val_batch_size": 3}),
    "--lfw_data_part_num": Announced("1"),
    "--cfp_fp_data_part_num": Announced("1"),
    "--agedb_30_data_part_num": Announced("1"),
    "--loss_type": Sets("arc_loss", {"loss": "arc_loss", "loss_name": "arc_loss"}),
    "--margin": Sets("0.2", {"loss_m2": 0.2}, "--loss_type arc_loss"),
    "--margin_s": Sets("30", {"loss_s": 30.0}),
    "--easy_margin": Sets("1", {"easy_margin": True}),
    "--loss_m1": Sets("0.9", {"loss_m1": 0.9}),
    "--loss_m2": Sets("0.2", {"loss_m2": 0.2}),
    "--loss_m3": Sets("0.2", {"loss_m3": 0.2}),
}
# Keys of their sample_config.py, which users set by hand.
MXNET_KEYS = (
    "bn_mom",
    "workspace",
    "emb_size",
    "ckpt_embedding",
    "net_se",
    "net_act",
    "net_unit",
    "net_input",
    "net_blocks",
    "net_output",
    "net_multiplier",
    "val_targets",
    "ce_loss",
    "fc7_lr_mult",
    "fc7_wd_mult",
    "fc7_no_bias",
    "max_steps",
    "data_rand_mirror",
    "data_cutoff",
    "data_color",
    "data_images_filter",
    "count_flops",
    "memonger",
    "densenet_dropout",
    "dataset_path",
    "num_classes",
    "loss_s",
    "loss_m1",
    "loss_m2",
    "loss_m3",
    "images_per_identity",
    "triplet_alpha",
    "triplet_bag_size",
    "triplet_max_ap",
    "end_epoch",
    "fp16",
    "image_shape",
    "is_shuffled_rec",
    "loss_K",
    "flip_noise_prob",
)
PORT_KEYS = (
    "emb_size",
    "net_blocks",
    "data_format",
    "bn_is_training",
    "fc_type",
    "input_channel",
    "dataset_dir",
    "num_classes",
    "total_img_num",
    "part_name_prefix",
    "part_name_suffix_length",
    "train_data_part_num",
    "shuffle",
    "loss_s",
    "cudnn_conv_heuristic_search_algo",
    "enable_fuse_model_update_ops",
    "enable_fuse_add_to_output",
    "val_targets",
    "count_flops",
    "val_dataset",
    "batches_num_in_snapshot",
)
LISTS = {MXNET: MXNET_FLAGS, SOFTMAX: SOFTMAX_FLAGS, PORT: PORT_FLAGS}
CASES = [(parser, flag) for parser, flags in LISTS.items() for flag in flags]
KNOWN = {option.key for option in TRAIN_TABLE}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as train_softmax.py reads them, with lfw alone."""
    folder = tmp_path / "faces"
    folder.mkdir()
    (folder / "property").write_text("17,112,112\n")
    (folder / "lfw.bin").write_bytes(b"")
    return folder


def underscored(flag: str) -> str:
    return f"--{flag[2:].replace('-', '_')}" if flag.startswith("--") else flag


def fill(value: Any, data: Path) -> Any:
    return value.format(data=data) if isinstance(value, str) else value


@functools.cache
def read_base(base: str, folder: Path) -> TrainCommand:
    return read_train_command(base.split(), folder)


@pytest.mark.parametrize(("parser", "flag"), CASES)
def test_a_flag_has_its_effect_or_is_announced(parser: str, flag: str, data: Path) -> None:
    case = LISTS[parser][flag]
    value = [fill(case.value, data)] if case.value else []
    before = read_base(case.base, ROOT / "tests")  # where no config.py is
    base = [] if flag == "--loss-type" else case.base.split()  # which has it, too
    after = read_train_command([*base, flag, *value], data)
    if after.translation:  # which means the same, and is not translated again
        again = read_train_command(shlex.split(after.translation), data)
        assert again.config == after.config and not again.translation
    if isinstance(case, Announced):
        assert after.config == before.config
        (said,) = set(after.notices) - set(before.notices)
        assert said.startswith(f"{underscored(flag)} has no effect: ")
        return
    expected = {key: fill(value, data) for key, value in case.settings.items()}
    changed = {key: value for key, value in after.config.items() if before.config.get(key, ...) != value}
    assert {key: after.config[key] for key in expected} == expected
    assert changed.keys() >= expected.keys() if flag != "--loss-type" else changed  # not the defaults


TRAINERS = (MXNET, SOFTMAX, PORT)


SAMPLES = {"image_shape": "96,96,3", "loss_type": "4", "data_dir": "{data}"}


@pytest.mark.parametrize("row", rows_beyond(KNOWN, TRAINERS), ids=lambda row: row.flag)
def test_spellings(row: OldFlag, data: Path) -> None:
    value = fill(SAMPLES.get(row.name, "3"), data)
    underscores, dashes = (
        rewrite_training(split_command([spelling, value]), sample_tables(), TRAIN_TABLE)
        for spelling in (row.flag, "--" + row.flag[2:].replace("_", "-"))
    )
    assert str(underscores) == str(dashes) and underscores.is_older
    assert underscores.words or underscores.notices


@pytest.mark.parametrize(("parser", "keys"), [(MXNET, MXNET_KEYS), (PORT, PORT_KEYS)])
def test_keys_of_their_settings_are_flags(parser: str, keys: tuple[str, ...]) -> None:
    rows = {row.name: row for row in OLD_FLAGS}
    unconnected = {row.name for row in rows_beyond(KNOWN)}
    for key in keys:
        row = rows[key]
        assert parser in row.parsers or row.key == key
        assert row.notice or row.key in KNOWN or key in unconnected


def test_the_table_has_these_flags_and_no_others() -> None:
    keys = {MXNET: MXNET_KEYS, SOFTMAX: (), PORT: PORT_KEYS}
    for parser, flags in LISTS.items():
        listed = {underscored(flag) for flag in flags}
        listed |= {f"--{key}" for key in keys[parser]}
        assert {row.flag for row in OLD_FLAGS if parser in row.parsers} == listed


def test_a_row_says_one_thing() -> None:
    assert len({row.flag for row in OLD_FLAGS}) == len(OLD_FLAGS)
    for row in OLD_FLAGS:
        assert [bool(row.key), bool(row.meaning), bool(row.notice)].count(True) == 1, row.flag


def test_the_documentation_has_the_table() -> None:
    text = (ROOT / "docs" / "options.md").read_text()
    assert "\n".join(table_lines()) in text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--loss cosface --loss-type 4", r"--loss cosface and --loss_type 4 \(arc_loss\) are two losses; give one"),
        ("--loss-type 3", "unknown loss_type '3'; known: 0, 1, 2, 4, 5, 6, 7, arc_loss"),
        ("--data-dir {data} --dataset emore", "--dataset emore and --data_dir .* both name the training data"),
        ("--data-dir {data}/lfw.bin", "--data_dir .*/lfw.bin is not a folder; expected one with property"),
        ("--loss-type 4 --margin-m 0.2 --loss_m2 0.3", "--margin_m sets --loss_m2 to 0.2, and --loss_m2 0.3 was"),
        ("--verbose 5 --validation_interval 6", "--verbose sets --validation_interval to 5, and --val"),
        ("--verbose 0", "--verbose 0 must be at least 1"),
        ("--verbose 5 --train_unit epoch", "--verbose 5 counts batches, and --train_unit epoch does not"),
        ("--prefix a/b --models-root c", "--prefix sets --models_root to a, and --models_root c was given too"),
        ("--prefix /", "--prefix / has no name; expected FOLDER/NAME"),
        ("--pretrained p,3 --pretrained-epoch 4", "--pretrained p,3 and --pretrained_epoch 4 contradict each other"),
        ("--num_sample 0", "--num_sample 0 must be at least 1 and at most num_classes 85742"),
        ("--num_sample 9 --sample_ratio 0.5", "--num_sample sets --sample_ratio to .*, and --sample_ratio 0.5 was"),
        ("--image_shape 112,96,3", "--image_shape '112,96,3' is not a square of three colours"),
        ("--image_shape 96,96,3 --image_size 112", "--image_shape sets --image_size to 96, and --image_size 112 was"),
        ("--dataset_path a --dataset_dir b", "--dataset_path a and --dataset_dir b are two places; give one"),
        ("--lr 0.1 --base_lr 0.2", "--lr 0.1 and --base_lr 0.2 contradict each other; give one"),
        ("--margin-m high", "--margin_m 'high' is not a number"),
    ],
)
def test_contradictions_are_one_clear_line(data: Path, tmp_path: Path, argv: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_train_command(argv.format(data=data).split(), tmp_path)
    assert "\n" not in str(caught.value)


def test_the_same_twice_is_no_contradiction(tmp_path: Path) -> None:
    argv = ["--lr", "0.2", "--base_lr", "0.2", "--lr_steps", "5", "--loss", "softmax", "--loss_type", "0"]
    command = read_train_command(argv, tmp_path)
    assert (command.config.lr, command.config.scales, command.config.loss) == (0.2, [0.1], "softmax")
    assert read_train_command(["--lr", "0.1", "--lr", "0.2"], tmp_path).config.lr == 0.2  # the last of one spelling


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        ("--loss softmax --margin-m 0.2", "--margin_m"),
        ("--loss-type 4 --margin-a 2", "--margin_a"),
        ("--loss-type 0 --beta 9", "--beta"),
        ("--loss-type 4 --margin 3 --loss arcface", ""),
        ("--pretrained-epoch 3", "--pretrained_epoch"),
    ],
)
def test_what_a_loss_does_without_is_announced(tmp_path: Path, argv: str, flag: str) -> None:
    if not flag:
        with pytest.raises(UserError, match="are two losses"):
            read_train_command(argv.split(), tmp_path)
        return
    assert [line for line in read_train_command(argv.split(), tmp_path).notices if f"{flag} " in line]


@pytest.mark.parametrize(
    ("kind", "loss", "margins"),
    [
        (0, "softmax", (1.0, 0.0, 0.0)),
        (1, "sphereface", (4.0, 0.0, 0.0)),
        (2, "cosface", (1.0, 0.0, 0.5)),
        (4, "arc_loss", (1.0, 0.5, 0.0)),
        (5, "combined", (1.0, 0.5, 0.0)),
    ],
)
def test_loss_types_with_their_defaults(data: Path, tmp_path: Path, kind: int, loss: str, margins: tuple) -> None:
    config = read_train_command(["--data-dir", str(data), "--loss-type", str(kind)], tmp_path).config
    assert (config.loss, (config.loss_m1, config.loss_m2, config.loss_m3)) == (loss, margins)
    steps = [40000, 60000, 80000] if kind == 0 else [100000, 140000, 160000]
    assert (config.lr_steps, config.lr_steps_batch, config.scales) == (steps, 512, [0.1, 0.01, 0.001])
    assert (config.network, config.emb_size, config.net_output) == ("r50", 512, "E")
    assert (config.ckpt, config.validation_interval, config.train_batch_size_per_device) == (1, 2000, 128)
    assert (config.train_iter, config.end_epoch, config.max_steps, config.weight_decay) == (0, 100000, 0, 0.0005)


def test_sphereface_of_many_classes_falls_slowly(data: Path, tmp_path: Path) -> None:
    argv = ["--data-dir", str(data), "--loss-type", "1"]
    config = read_train_command(argv, tmp_path).config
    assert (config.loss_lambda_freeze, config.loss_lambda_gamma) == (0, 0.12)
    (data / "property").write_text("20001,112,112\n")
    config = read_train_command(argv, tmp_path).config
    assert (config.loss_lambda_freeze, config.loss_lambda_gamma) == (5000, 0.06)
    config = read_train_command([*argv, "--gamma", "0.5", "--beta-freeze", "3"], tmp_path).config
    assert (config.loss_lambda_freeze, config.loss_lambda_gamma) == (3, 0.5)


def test_the_networks_of_the_first_port(tmp_path: Path) -> None:
    for old, new in (("resnet100", "r100"), ("resnet50", "r50"), ("mobilefacenet", "y1")):
        assert read_train_command(["--network", old], tmp_path).config.network == new


def test_epochs_of_a_prefix(tmp_path: Path) -> None:
    prefix = tmp_path / "model"
    prefix.with_name("model-symbol.json").write_text("{}")
    command = read_train_command(["--pretrained", str(prefix)], tmp_path)
    assert command.config.pretrained == f"{prefix},1"
    assert command.notices == (f"--pretrained {prefix}: epoch 1, the default of --pretrained_epoch",)


def test_a_dataset_of_the_table_wins_over_the_old_defaults(tmp_path: Path) -> None:
    config = read_train_command(["--loss-type", "4", "--dataset", "orl", "--network", "y1"], tmp_path).config
    assert (config.dataset, config.train_batch_size, config.train_iter, config.val_targets) == ("orl", 60, 100, ["orl"])


def test_ckpt_without_verification_is_announced(tmp_path: Path) -> None:
    said = read_train_command(["--ckpt", "3", "--do_validation_while_train", "0"], tmp_path).notices
    assert said == ("--ckpt 3 keeps snapshots of verifications, and there are none in this run; --ckpt 2 keeps all",)
    assert read_train_command(["--ckpt", "0", "--do_validation_while_train", "0"], tmp_path).notices == ()


def test_keys_of_their_settings_as_flags(data: Path, tmp_path: Path) -> None:
    config = read_train_command(["--image-shape", "96,96,3", "--dataset_path", str(data)], tmp_path).config
    assert (config.image_size, config.dataset_dir, config.val_dataset_dir) == (96, str(data), str(data))
    assert config.val_targets == ["lfw"]  # the one that is there
    config = read_train_command(["--lr_steps", "1,2", "--scales", "1,0.5,0.25"], tmp_path).config
    assert config.scales == [0.5, 0.25]  # the first holds before the first step


def test_images_of_each_rank_win_over_those_of_all_in_a_table(tmp_path: Path) -> None:
    argv = ["--dataset", "orl", "--network", "y1", "--per-batch-size", "5"]
    config = read_train_command(argv, tmp_path).config
    assert (config.train_batch_size, config.train_batch_size_per_device) == (0, 5)
    config = read_train_command([*argv, "--train_batch_size", "10"], tmp_path).config
    assert (config.train_batch_size, config.train_batch_size_per_device) == (10, 5)
    command = read_train_command([*argv[:-1], "0"], tmp_path)
    assert (command.config.train_batch_size, command.config.train_batch_size_per_device) == (0, 128)
    assert any("(--per_batch_size): 128, as in train.py" in notice for notice in command.notices)
