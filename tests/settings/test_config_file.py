"""Whole config.py files of older programs: what comes out where, what wins, and what a mistake looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from settings.config_file import load_tables
from tests.settings.legacy.old_config_files import GENERATE, change, read, write

# Whole files, with the tables and keys that theirs have together.
WHOLE_MXNET = {
    "config": {
        "bn_mom": 0.8,
        "workspace": 256,
        "emb_size": 256,
        "ckpt_embedding": True,
        "net_se": 1,
        "net_act": "relu",
        "net_unit": 1,
        "net_input": 2,
        "net_blocks": [2, 8, 16, 4],
        "net_output": "FC",
        "net_multiplier": 0.75,
        "val_targets": ["calfw"],
        "ce_loss": False,
        "fc7_lr_mult": 10.0,
        "fc7_wd_mult": 10.0,
        "fc7_no_bias": True,
        "max_steps": 0,
        "data_rand_mirror": False,
        "data_cutoff": False,
        "data_color": 1,
        "data_images_filter": 3,
        "count_flops": False,
        "memonger": False,
        "is_shuffled_rec": False,
        "fp16": True,
        "loss_K": 1,
        "flip_noise_prob": 0.0,
    },
    "network.r100": {"net_name": "fresnet", "num_layers": 100},
    "network.r50v1": {"net_name": "fresnet", "num_layers": 50, "net_unit": 2},
    "network.d169": {"net_name": "fdensenet", "num_layers": 169, "per_batch_size": 48, "densenet_dropout": 0.1},
    "network.y1": {"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"},
    "network.vargfacenet": {"net_name": "vargfacenet", "net_multiplier": 1.5, "emb_size": 512, "net_output": "J"},
    "dataset.emore": {
        "dataset": "emore",
        "dataset_path": "../datasets/faces",
        "num_classes": 85000,
        "image_shape": (112, 112, 3),
        "val_targets": ["lfw"],
    },
    "loss.arcface": {"loss_name": "margin_softmax", "loss_s": 64.0, "loss_m1": 1.0, "loss_m2": 0.4, "loss_m3": 0.0},
    "loss.triplet": {
        "loss_name": "triplet",
        "images_per_identity": 4,
        "triplet_alpha": 0.2,
        "triplet_bag_size": 3600,
        "triplet_max_ap": 0.0,
        "per_batch_size": 30,
        "lr": 0.01,
    },
    "default": {
        "network": "r100",
        "dataset": "emore",
        "loss": "arcface",
        "pretrained": "",
        "pretrained_epoch": 1,
        "frequent": 10,
        "verbose": 1000,
        "kvstore": "device",
        "end_epoch": 100,
        "lr": 0.2,
        "wd": 0.001,
        "mom": 0.8,
        "per_batch_size": 96,
        "ckpt": 3,
        "lr_steps": "10,20",
        "models_root": "there",
    },
}
WHOLE_PORT = {
    "config": {
        "emb_size": 256,
        "net_blocks": [2, 8, 16, 4],
        "data_format": "NCHW",
        "bn_is_training": True,
        "val_targets": ["lfw"],
        "lfw_total_images_num": 12000,
        "cfp_fp_total_images_num": 14000,
        "agedb_30_total_images_num": 12000,
        "cudnn_conv_heuristic_search_algo": False,
        "enable_fuse_model_update_ops": False,
        "enable_fuse_add_to_output": False,
    },
    "network.r100": {"net_name": "fresnet100", "emb_size": 512, "fc_type": "FC"},
    "network.y1": {
        "net_name": "fmobilefacenet",
        "emb_size": 128,
        "fc_type": "GDC",
        "bn_is_training": True,
        "input_channel": 512,
    },
    "dataset.emore": {
        "dataset": "emore",
        "dataset_dir": "parts",
        "num_classes": 85744,
        "total_img_num": 5000,
        "part_name_prefix": "part-",
        "part_name_suffix_length": 5,
        "train_data_part_num": 16,
        "shuffle": True,
    },
    "loss.cosface": {"loss_name": "margin_softmax", "loss_s": 64.0, "loss_m1": 1.0, "loss_m2": 0.0, "loss_m3": 0.4},
    "default": {
        "dataset": "emore",
        "network": "r100",
        "loss": "cosface",
        "node_ips": ["a"],
        "num_nodes": 1,
        "device_num_per_node": 8,
        "model_parallel": 0,
        "partial_fc": 0,
        "train_batch_size_per_device": 64,
        "train_batch_size": 512,
        "use_synthetic_data": False,
        "do_validation_while_train": True,
        "train_unit": "batch",
        "train_iter": 170586,
        "lr": 0.1,
        "lr_steps": [10, 20, 30],
        "scales": [1.0, 0.1, 0.01, 0.001],
        "wd": 0.0005,
        "mom": 0.9,
        "model_load_dir": "",
        "models_root": "there",
        "log_dir": "there",
        "loss_print_frequency": 1,
        "iter_num_in_snapshot": 50,
        "use_fp16": False,
        "nccl_fusion_threshold_mb": 16,
        "nccl_fusion_max_ops": 64,
        "val_batch_size_per_device": 20,
        "validation_interval": 50,
        "val_data_part_num": 1,
        "val_dataset_dir": "sets",
        "nrof_folds": 10,
        "sample_ratio": 0.1,
    },
}


def pick(config: dict[str, Any], *keys: str) -> tuple:
    return tuple(config[key] for key in keys)


def test_a_whole_file_of_mxnet(tmp_path: Path) -> None:
    command = read(write(tmp_path, WHOLE_MXNET))
    config = command.config
    assert pick(config, "num_layers", "train_batch_size_per_device", "lr", "weight_decay") == (100, 96, 0.2, 0.001)
    assert pick(config, "lr_steps", "scales", "end_epoch", "train_iter") == ([10, 20], [0.1, 0.01], 100, 0)
    assert pick(config, "dataset_dir", "val_targets", "image_size") == ("../datasets/faces", ["lfw"], 112)
    assert config.keys() == read(tmp_path / "none").config.keys()
    reasons = [line.split(" no effect: ")[0] for line in command.notices]
    assert reasons == [
        f"config.py: {keys}"
        for keys in ("kvstore has", "workspace has", "memonger has", "is_shuffled_rec has", "flip_noise_prob has")
    ]
    config = read(tmp_path, "--network d169 --loss triplet --emb_size 512 --net_output E").config
    assert pick(config, "train_batch_size_per_device", "lr", "triplet_alpha", "densenet_dropout") == (
        48,
        0.01,
        0.2,
        0.1,
    )
    config = read(tmp_path, "--network y1 --loss triplet").config
    assert pick(config, "train_batch_size_per_device", "images_per_identity", "net_blocks") == (30, 4, [2, 8, 16, 4])


def test_a_whole_file_of_the_port(tmp_path: Path) -> None:
    command = read(write(tmp_path, WHOLE_PORT))
    config = command.config
    assert pick(config, "net_name", "num_layers", "net_output") == ("fresnet", 100, "FC")
    assert pick(config, "train_batch_size", "device_num_per_node", "model_parallel", "sample_ratio") == (
        512,
        8,
        False,
        0.1,
    )
    assert pick(config, "lr_steps", "scales") == ([10, 20, 30], [0.1, 0.01, 0.001])
    assert config.keys() == read(tmp_path / "none").config.keys()
    reasons = [line.split(" no effect: ")[0] for line in command.notices]
    assert reasons == [
        f"config.py: {keys}"
        for keys in (
            "bn_is_training has",
            "data_format, cudnn_conv_heuristic_search_algo have",
            "enable_fuse_model_update_ops, enable_fuse_add_to_output have",
            "part_name_prefix, part_name_suffix_length have",
            "shuffle has",
            "lfw_total_images_num, cfp_fp_total_images_num, agedb_30_total_images_num have",
        )
    ]
    config = read(tmp_path, "--network y1 --train_batch_size_per_device 8").config
    assert pick(config, "emb_size", "net_output", "train_batch_size") == (128, "GDC", 0)


def test_entries_win_over_defaults_whatever_their_function_does(tmp_path: Path) -> None:
    """default < config < loss < network < dataset < command line, though GENERATE copies the network last."""
    places = ("default", "config", "loss.mine", "network.mine", "dataset.mine")
    tables = change()
    for number, place in enumerate(places):
        tables[place]["wd"] = (number + 1) * 1e-5
        assert read(write(tmp_path, tables)).config.weight_decay == (number + 1) * 1e-5
    assert read(tmp_path, "--wd 0.25").config.weight_decay == 0.25


def test_spellings_of_both_ports_in_one_file(tmp_path: Path) -> None:
    tables = change(default={"train_batch_size": 512, "weight_decay": 0.5}, network__mine={"per_batch_size": 32})
    config = read(write(tmp_path, tables)).config
    assert (config.train_batch_size, config.train_batch_size_per_device, config.weight_decay) == (0, 32, 0.5)
    config = read(write(tmp_path, change(default={"train_batch_size": 512})), "--per-batch-size 8").config
    assert (config.train_batch_size, config.train_batch_size_per_device) == (0, 8)


def test_what_their_function_sets_by_itself(tmp_path: Path) -> None:
    own = "    if data == 'mine':\n        default['train_unit'], default['total_batch_num'] = 'epoch', 17\n"
    tables = change(default={"train_unit": "batch", "total_batch_num": 9, "lr_steps": [1], "scales": [1.0, 0.1]})
    command = read(write(tmp_path, tables, GENERATE + own))
    assert (command.config.train_unit, command.config.train_iter, command.config.num_workers) == ("epoch", 17, 2)
    assert "config.py: its generate_config sets train_unit = 'epoch', total_batch_num = 17" in command.notices
    command = read(tmp_path, "--dataset emore")
    assert (command.config.train_unit, command.config.train_iter) == ("batch", 180000)  # of our emore
    assert not [line for line in command.notices if "generate_config" in line]


def test_what_is_given_as_a_flag_wins(tmp_path: Path) -> None:
    (tmp_path / "model-symbol.json").write_text("{}")
    default = {"verbose": 2000, "lr_steps": "1,2,3", "pretrained": str(tmp_path / "model"), "pretrained_epoch": 4}
    folder = write(tmp_path, change(default=default))
    assert read(folder).config.pretrained == f"{tmp_path}/model,4"
    assert read(folder, "--pretrained-epoch 7").config.pretrained == f"{tmp_path}/model,7"
    assert read(folder, "--pretrained other,3").config.pretrained == "other,3"
    config = read(folder, "--validation_interval 5 --lr_steps 9").config
    assert (config.validation_interval, config.iter_num_in_snapshot) == (5, 2000)
    assert (config.lr_steps, config.scales) == ([9], [0.1])


def test_networks_that_the_file_lacks_are_ours(tmp_path: Path) -> None:
    folder = write(tmp_path, change(network__r100={"net_name": "fresnet100", "fc_type": "FC"}))
    config = read(folder, "--network r100").config
    assert (config.net_name, config.num_layers, config.net_output) == ("fresnet", 100, "FC")
    assert read(folder, "--network vit_t --loss adaface").config.net_name == "vit"
    assert read(folder, "--network resnet100").config.network == "r100"
    assert load_tables(folder).network.mine == {"net_name": "fresnet", "num_layers": 18}


def test_the_folder_of_a_dataset(tmp_path: Path) -> None:
    faces = tmp_path / "faces"
    (faces / "ofrecord" / "train").mkdir(parents=True)
    (faces / "lfw.bin").write_bytes(b"")
    folder = write(tmp_path, change(dataset__mine={"dataset_path": str(faces)}))
    command = read(folder)
    config = command.config
    assert (config.dataset_dir, config.val_dataset_dir) == (f"{faces}/ofrecord/train", str(faces))
    assert config.val_targets == ["lfw"]
    assert command.notices == (f"no cfp_fp, agedb_30 in {faces}: not verified, as in InsightFace's trainers",)
    config = read(folder, "--dataset_dir a --val_dataset_dir b").config
    assert (config.dataset_dir, config.val_dataset_dir, len(config.val_targets)) == ("a", "b", 3)
    assert read(folder, "--use_synthetic_data 1 --total_img_num 9").notices == ()


def test_snapshots_that_are_not_counted_are_announced(tmp_path: Path) -> None:
    (said,) = read(write(tmp_path, change(default={"ckpt": 3, "batch_num_in_snapshot": 9}))).notices
    assert said == "config.py: iter_num_in_snapshot is for ckpt 2, all snapshots; ckpt 3 goes by verifications"
    assert read(write(tmp_path, change(default={"ckpt": 3, "verbose": 9}))).notices == ()


def test_older_keys_in_a_file_of_ours(tmp_path: Path) -> None:
    """Its generate_config returns the settings."""
    text = Path(load_tables(tmp_path).path).read_text()
    (tmp_path / "config.py").write_text(
        f"{text}\nnetwork.y1.per_batch_size = 9\nconfig.workspace = 1\ndefault.wd = 1\n"
    )
    with pytest.raises(UserError, match=r"default: wd makes weight_decay 1.0, and another key there 0.0005; keep one"):
        read(tmp_path)
    (tmp_path / "config.py").write_text(f"{text}\nnetwork.y1.per_batch_size = 9\nconfig.workspace = 1\n")
    command = read(tmp_path, "--network y1")
    assert command.config.train_batch_size_per_device == 9 and "per_batch_size" not in command.config
    assert [line for line in command.notices if line.startswith("config.py: workspace has no effect: ")]


@pytest.mark.parametrize(
    ("tables", "generate", "message"),
    [
        (change(config={"depth": 1}), GENERATE, "config.py: config has the unknown key 'depth'; known: .*weight_decay"),
        (change(network__mine={"prefix": "a"}), GENERATE, "network.mine has the unknown key 'prefix'"),
        (change(default={"wd": "much"}), GENERATE, "default: wd = 'much' is not of type float; sample_config.py"),
        (change(default={"verbose": "often"}), GENERATE, "default: verbose = 'often': 'often' is not a whole"),
        (change(default={"lr_steps": "1;2"}), GENERATE, "default: lr_steps = '1;2': '1;2' is not a comma-separated"),
        (change(default={"dataset": ["a", "b"]}), GENERATE, "dataset = .* is not of type str; sample_config.py"),
        (
            change(dataset__mine={"image_shape": (112, 96, 3)}),
            GENERATE,
            r"dataset.mine: image_shape = \(112, 96, 3\): '\(112, 96, 3\)' is not a square of three colours",
        ),
        (
            change(default={"verbose": 5, "validation_interval": 6}),
            GENERATE,
            "default: validation_interval makes validation_interval 6, and another key there 5; keep one of them",
        ),
        (change(default={"num_sample": 9001}), GENERATE, "num_sample 9001 must be .* at most num_classes 9000"),
        (change(network__mine={"net_name": "resnet"}), GENERATE, "unknown network 'resnet'; known: .*fresnet"),
        (change(), "def generate_config(*names):\n    default.nothing", "generate_config: AttributeError: "),
        (change(), GENERATE + "    default['speed'] = 3", "generate_config has the unknown key 'speed'"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, tables: dict, generate: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(write(tmp_path, tables, generate))
    assert "\n" not in str(caught.value)
