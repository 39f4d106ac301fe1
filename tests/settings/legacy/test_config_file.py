"""config.py files in the manner of older sample_config.py files: every key sets what it says, or is announced."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.settings.legacy.old_config_files import change, read, write


@dataclass(frozen=True)
class Sets:
    """With ``value`` the key makes these settings differ from those of the file without it."""

    value: Any
    settings: dict[str, Any] = field(hash=False)
    argv: str = ""


@dataclass(frozen=True)
class Announced:
    """The key changes nothing, and the run says so."""

    value: Any
    argv: str = ""


def same(key: str, value: Any, argv: str = "") -> Sets:
    return Sets(value, {key: value}, argv)


MXNET = {
    "config": {
        "bn_mom": same("bn_mom", 0.8),
        "workspace": Announced(256),
        "emb_size": same("emb_size", 256),
        "ckpt_embedding": same("ckpt_embedding", True),
        "net_se": same("net_se", 1),
        "net_act": same("net_act", "relu"),
        "net_unit": same("net_unit", 1),
        "net_input": same("net_input", 2),
        "net_blocks": same("net_blocks", [2, 8, 16, 4]),
        "net_output": same("net_output", "FC"),
        "net_multiplier": same("net_multiplier", 0.75),
        "val_targets": same("val_targets", ["calfw"]),
        "ce_loss": same("ce_loss", False),
        "fc7_lr_mult": same("fc7_lr_mult", 10.0),
        "fc7_wd_mult": same("fc7_wd_mult", 10.0),
        "fc7_no_bias": same("fc7_no_bias", True),
        "max_steps": Sets(7, {"max_steps": 7, "train_iter": 0}),
        "data_rand_mirror": same("data_rand_mirror", False),
        "data_cutoff": same("data_cutoff", 8),
        "data_color": same("data_color", 1),
        "data_images_filter": same("data_images_filter", 3),
        "count_flops": same("count_flops", False),
        "memonger": Announced(False),
        "is_shuffled_rec": Announced(False),
        "fp16": Sets(True, {"use_fp16": True}),
        "loss_K": Sets(3, {"num_subcenters": 3}),
        "flip_noise_prob": Announced(0.0),
    },
    "network.mine": {
        "net_name": Sets("fmobilefacenet", {"net_name": "fmobilefacenet"}),
        "num_layers": same("num_layers", 34),
        "net_output": same("net_output", "GDC"),
        "net_unit": same("net_unit", 1),
        "net_blocks": same("net_blocks", [2, 8, 16, 4]),
        "net_multiplier": same("net_multiplier", 0.5),
        "emb_size": same("emb_size", 128),
        "densenet_dropout": same("densenet_dropout", 0.1),
        "per_batch_size": Sets(32, {"train_batch_size_per_device": 32}),
    },
    "dataset.mine": {
        "dataset": Announced("theirs"),
        "dataset_path": Sets("faces", {"dataset_dir": "faces", "val_dataset_dir": "faces"}),
        "num_classes": same("num_classes", 8000),
        "image_shape": Sets((96, 96, 3), {"image_size": 96}),
        "val_targets": same("val_targets", ["lfw"]),
    },
    "loss.mine": {
        "loss_name": same("loss_name", "softmax"),
        "loss_s": Sets(32, {"loss_s": 32.0}),
        "loss_m1": same("loss_m1", 0.9),
        "loss_m2": same("loss_m2", 0.3),
        "loss_m3": same("loss_m3", 0.2),
        "images_per_identity": same("images_per_identity", 4),
        "triplet_alpha": same("triplet_alpha", 0.35),
        "triplet_bag_size": same("triplet_bag_size", 3600),
        "triplet_max_ap": same("triplet_max_ap", 1.5),
        "per_batch_size": Sets(60, {"train_batch_size_per_device": 60}),
        "lr": same("lr", 0.05),
    },
    "default": {
        "network": Sets("y1", {"network": "y1", "net_name": "fmobilefacenet", "emb_size": 128}),
        "dataset": Sets("retina", {"dataset": "retina", "num_classes": 93431}),
        "loss": Sets("cosface", {"loss": "cosface", "loss_m3": 0.35}),
        "pretrained": same("pretrained", "there"),
        "pretrained_epoch": Sets(7, {"pretrained": "{folder}/model,7"}, "--pretrained {folder}/model"),
        "frequent": Sets(9, {"loss_print_frequency": 9}),
        "verbose": Sets(2000, {"validation_interval": 2000, "iter_num_in_snapshot": 2000}),
        "kvstore": Announced("device"),
        "end_epoch": Sets(10000, {"end_epoch": 10000, "train_iter": 0}),
        "lr": same("lr", 0.2),
        "wd": Sets(0.001, {"weight_decay": 0.001}),
        "mom": Sets(0.8, {"momentum": 0.8}),
        "per_batch_size": Sets(128, {"train_batch_size_per_device": 128}),
        "ckpt": Sets(3, {"ckpt": 3, "iter_num_in_snapshot": 0, "save_last_snapshot": False}),
        "lr_steps": Sets("10,20", {"lr_steps": [10, 20], "scales": [0.1, 0.01]}),
        "models_root": same("models_root", "there"),
    },
}
NODES = "--master_port 1"
PORT = {
    "config": {
        "emb_size": MXNET["config"]["emb_size"],
        "net_blocks": MXNET["config"]["net_blocks"],
        "val_targets": MXNET["config"]["val_targets"],
        "ce_loss": MXNET["config"]["ce_loss"],
        "fc7_lr_mult": MXNET["config"]["fc7_lr_mult"],
        "fc7_wd_mult": MXNET["config"]["fc7_wd_mult"],
        "fc7_no_bias": MXNET["config"]["fc7_no_bias"],
        "max_steps": MXNET["config"]["max_steps"],
        "count_flops": MXNET["config"]["count_flops"],
        "data_format": Announced("NHWC"),
        "channel_last": Announced(False),
        "bn_is_training": Announced(True),
        "lfw_total_images_num": Announced(12000),
        "cfp_fp_total_images_num": Announced(14000),
        "agedb_30_total_images_num": Announced(12000),
        "cudnn_conv_heuristic_search_algo": Announced(False),
        "enable_fuse_model_update_ops": Announced(True),
        "enable_fuse_add_to_output": Announced(False),
        "node_ips": same("node_ips", ["a", "b"]),
        "num_nodes": same("num_nodes", 2, f"{NODES} --node_ips a,b"),
        "device_num_per_node": same("device_num_per_node", 3),
        "bn_mom": same("bn_mom", 0.8),
        "model_parallel": Sets(0, {"model_parallel": False}),
    },
    "network.mine": {
        "net_name": MXNET["network.mine"]["net_name"],
        "num_layers": same("num_layers", 34),
        "emb_size": same("emb_size", 128),
        "fc_type": Sets("GDC", {"net_output": "GDC"}),
        "net_output": same("net_output", "FC"),
        "bn_is_training": Announced(True),
        "input_channel": Announced(512),
    },
    "dataset.mine": {
        "dataset": Announced("theirs"),
        "dataset_dir": same("dataset_dir", "parts"),
        "dataset_path": MXNET["dataset.mine"]["dataset_path"],
        "image_shape": MXNET["dataset.mine"]["image_shape"],
        "num_classes": same("num_classes", 8000),
        "total_img_num": same("total_img_num", 5000),
        "part_name_prefix": Announced("part-"),
        "part_name_suffix_length": Announced(5),
        "train_data_part_num": same("train_data_part_num", 16),
        "train_batch_size_per_device": same("train_batch_size_per_device", 8),
        "shuffle": Announced(True),
        "val_targets": same("val_targets", ["lfw"]),
    },
    "loss.mine": {
        "loss_name": same("loss_name", "softmax"),
        "loss_s": same("loss_s", 32.0),
        "loss_m1": same("loss_m1", 0.9),
        "loss_m2": same("loss_m2", 0.3),
        "loss_m3": same("loss_m3", 0.2),
        "easy_margin": Sets(1, {"easy_margin": True}),
    },
    "loss.arc_loss": {"margin": Sets(0.3, {"loss_m2": 0.3}, "--loss arc_loss")},
    "default": {
        **{key: MXNET["default"][key] for key in ("network", "dataset", "loss", "lr", "wd", "mom", "ckpt")},
        "models_root": same("models_root", "there"),
        "node_ips": same("node_ips", ["a", "b"]),
        "num_nodes": same("num_nodes", 2, f"{NODES} --node_ips a,b"),
        "device_num_per_node": same("device_num_per_node", 8),
        "bn_mom": same("bn_mom", 0.8),
        "model_parallel": Sets(0, {"model_parallel": False}),
        "partial_fc": Sets(1, {"partial_fc": True}),
        "train_batch_size_per_device": same("train_batch_size_per_device", 32),
        "train_batch_size": same("train_batch_size", 512),
        "train_data_part_num": same("train_data_part_num", 32),
        "use_synthetic_data": same("use_synthetic_data", True, "--total_img_num 9"),
        "do_validation_while_train": same("do_validation_while_train", False),
        "do_validataion_while_train": Sets(False, {"do_validation_while_train": False}),
        "train_unit": same("train_unit", "epoch"),
        "train_iter": same("train_iter", 17),
        "total_batch_num": Sets(17, {"train_iter": 17}),
        "lr_steps": Sets([10, 20], {"lr_steps": [10, 20], "scales": [0.1, 0.01]}),
        "scales": Sets([1.0, 0.3, 0.2, 0.1], {"scales": [0.3, 0.2, 0.1]}),
        "model_load_dir": same("model_load_dir", "there"),
        "model_save_dir": Sets("there", {"models_root": "there"}),
        "log_dir": same("log_dir", "there"),
        "loss_print_frequency": same("loss_print_frequency", 9),
        "iter_num_in_snapshot": same("iter_num_in_snapshot", 9),
        "batch_num_in_snapshot": Sets(9, {"iter_num_in_snapshot": 9}),
        "batches_num_in_snapshot": Sets(9, {"iter_num_in_snapshot": 9}),
        "save_last_snapshot": same("save_last_snapshot", False),
        "use_fp16": same("use_fp16", True),
        "pad_output": Announced(True),
        "nccl_fusion_threshold_mb": same("nccl_fusion_threshold_mb", 0),
        "nccl_fusion_max_ops": same("nccl_fusion_max_ops", 0),
        "val_dataset": Sets("lfw", {"val_targets": ["lfw"]}),
        "val_batch_size_per_device": same("val_batch_size_per_device", 8),
        "validation_interval": same("validation_interval", 9),
        "val_data_part_num": same("val_data_part_num", 1),
        "val_dataset_dir": same("val_dataset_dir", "there"),
        "nrof_folds": same("nrof_folds", 5),
        "num_sample": Sets(900, {"sample_ratio": 0.1}),
        "sample_ratio": same("sample_ratio", 0.1),
    },
}
STYLES = {"mxnet": MXNET, "port": PORT}
CASES = [(style, table, key) for style, tables in STYLES.items() for table, entry in tables.items() for key in entry]


@pytest.mark.parametrize(("style", "table", "key"), CASES)
def test_a_key_has_its_effect_or_is_announced(tmp_path: Path, style: str, table: str, key: str) -> None:
    case = STYLES[style][table][key]
    (tmp_path / "model-symbol.json").write_text("{}")
    without = change(**{table: {"loss_name": "arc_loss"} if table == "loss.arc_loss" else {}})
    given = {**without, table: {**without[table], key: case.value}}
    before, after = (
        read(write(tmp_path / name, tables), case.argv.format(folder=tmp_path))
        for name, tables in (("without", without), ("given", given))
    )
    if isinstance(case, Announced):
        assert after.config == before.config
        (said,) = set(after.notices) - set(before.notices)
        assert said.startswith("config.py: ") and key in said and "no effect: " in said
        return
    for name, value in case.settings.items():
        expected = value.format(folder=tmp_path) if isinstance(value, str) else value
        assert after.config[name] == expected and type(after.config[name]) is type(expected), name
        assert before.config[name] != expected, name
