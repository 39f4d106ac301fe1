"""Every flag: its default is sample_config's, and another value changes what the flag is there to change."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sample_config
from data.image import encode_jpeg
from data.ofrecord.records import encode_train_record, encode_verification_record, write_record
from data.sources.synthetic import SyntheticSource
from data.verification.bin_file import write_bin
from launch.devices import choose_device
from launch.join_token import token_file
from ops.heads.class_shards import initial_class_rows
from ops.native import native_calls
from settings.options import TRAIN_TABLE
from settings.train_command import resolve_train_config
from tests.support import observe
from tests.support.head_reference import compute_head
from tests.support.loss_reference import FIRST_STATE, compute_loss
from tests.support.observe import head_loss, logged, movement, or_error, structure
from tests.support.ranks import free_port
from tests.support.tiny import IMAGE_SIZE

# Flags of the runs that both values of an option share. {folder} holds what the fixture ``folder`` makes.
HEAD = "--network y1 --num_classes 7 --emb_size 16"
SOFTMAX, MAGFACE, ELASTIC = (f"{HEAD} --loss {loss}" for loss in ("softmax", "magface", "elastic_arcface"))
ADAFACE, SPHEREFACE, INTRA = (f"{HEAD} --loss {loss}" for loss in ("adaface", "sphereface", "intra"))
QUICK = (
    "--use_synthetic_data 1 --num_classes 31 --total_img_num 93 --train_batch_size 8 --train_iter 2 --lr 0.02 "
    "--loss softmax --loss_print_frequency 1 --iter_num_in_snapshot 0 --save_last_snapshot 0"
)
INLINE = f"{QUICK} --num_workers 0"
REAL = "--use_synthetic_data 0 --num_classes 3 --train_batch_size 4 --dataset_dir {folder}/train5"
VERIFY = f"{INLINE} {REAL} --val_targets first --val_dataset_dir {{folder}}/sets --validation_interval 1 --nrof_folds 2"
SAVE = f"{INLINE} --save_last_snapshot 1"
ONE_OP = "one op on the CPU"
TRIPLETS = f"{INLINE} --loss triplet --train_batch_size 6 --images_per_identity 3 --triplet_bag_size 30"
STILL = f"{SAVE} --lr 0 --train_iter 3"
PORT = str(free_port())
NODES = f"--node_ips 127.0.0.1,127.0.0.1 --master_port {PORT}"
ADAMW = f"{HEAD} --optimizer adamw"
HUGE = str(2.0**127)  # gradients overflow
GIVEN = "{folder}/given/r100-softmax-emore/snapshot_2"
TAUGHT = f"{INLINE} --teacher {GIVEN}"
ARCFACE = f"{SAVE} --seed 9 --loss arcface --models_root {{folder}}/teacher"
TAUGHT_CLASSES = f"{INLINE} --loss arcface --teacher {{folder}}/teacher/r100-arcface-emore/snapshot_2"


@dataclass(frozen=True)
class Effect:
    """``observed`` sees ``before`` with the flags ``base`` alone and ``after`` with the option's ``value`` too."""

    value: str
    observed: observe.Observer
    before: Any
    after: Any
    base: str = ""


class _Other:
    """Equals nothing that was seen before."""

    def __repr__(self) -> str:
        return "another value"


OTHER = _Other()


def margin_loss(m1: float, m2: float, m3: float, scale: float) -> Any:
    """Return the reference loss of ``head_loss`` for the flags HEAD."""
    weight = initial_class_rows(sample_config.default.seed, 0, 7, 16)
    loss = compute_head(observe.head_embeddings(16), weight, observe.HEAD_LABELS, (m1, m2, m3), scale).loss
    return pytest.approx(loss, rel=1e-5)


def cosine_loss(loss: str, **changes: Any) -> Any:
    """Return the reference loss of ``head_loss`` for a loss of sample_config with other values of some keys."""
    config = {**sample_config.config, **sample_config.loss[loss], **changes}
    weight = initial_class_rows(sample_config.default.seed, 0, 7, 16)
    values = compute_loss(
        config, observe.head_embeddings(16), weight, observe.HEAD_LABELS, FIRST_STATE[config["loss_name"]]
    )
    return pytest.approx(values.loss, rel=1e-5)


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-4)


MAGFACE_LOSS = cosine_loss("magface")
VERIFIED = {"first": [1, 2], "second": []}
MASTER_2, MASTER_4 = ["0", "2", "127.0.0.1", PORT], ["0", "4", "127.0.0.1", "0"]
FULL = {"snapshot_2": ["backbone", "fc7", "momentum", "snapshot"]}
EFFECTS: dict[str, Effect] = {
    # where it runs
    "network": Effect("y1", structure("emb_size"), 512, 128),
    "dataset": Effect("orl", lambda c: c.num_classes, 85742, 30),
    "loss": Effect("softmax", lambda c: observe.head(c).bias is not None, False, True, HEAD),
    "device": Effect("cpu", choose_device, ("cuda", 2), ("cpu", 1)),
    "device_num_per_node": Effect("1", choose_device, ("cuda", 2), ("cuda", 1)),
    "num_nodes": Effect("2", observe.environment, MASTER_2, MASTER_4, NODES),
    "node_rank": Effect("1", observe.environment, MASTER_4, ["2", "4", "127.0.0.1", "0"], f"{NODES} --num_nodes 2"),
    "node_ips": Effect("::1", observe.environment, ["0", "2", "127.0.0.1", "0"], ["0", "2", "::1", "0"]),
    "master_port": Effect("2001", observe.environment, ["0", "2", "127.0.0.1", "0"], ["0", "2", "127.0.0.1", "2001"]),
    "join_token": Effect("secrets/run", lambda c: token_file(c).name, "join_token", "run"),
    "rank_timeout": Effect("1", observe.patience, 0, 1),
    "native_ops": Effect("0", observe.executor, ONE_OP, "one op per node (it is switched off)", "--network y1"),
    "use_bf16": Effect("1", observe.executor, ONE_OP, "one op on the CPU, bfloat16", "--network y1"),
    "recompute": Effect("1", observe.executor, ONE_OP, "one op on the CPU, recomputing", "--network y1"),
    # network and head
    "model_parallel": Effect(
        "0", lambda c: str(observe.head(c).weight.sbp[0]), "oneflow.sbp.split(dim=0)", "oneflow.sbp.broadcast", HEAD
    ),
    "partial_fc": Effect("1", observe.rows_per_step, 7, 4, f"{HEAD} --sample_ratio 0.5"),
    "sample_ratio": Effect("0.3", observe.rows_per_step, 7, 3, f"{HEAD} --partial_fc 1"),
    "emb_size": Effect("256", structure("emb_size"), 512, 256),
    "image_size": Effect("96,96", structure("input"), (3, 112, 112), (3, 96, 96)),
    "input_mean": Effect("0", structure("images"), (127.5, 1 / 128), (0.0, 1 / 128)),
    "input_scale": Effect("1/255", structure("images"), (127.5, 1 / 128), (127.5, 1 / 255)),
    "net_input": Effect("2", structure("first"), "scale_shift", "batch_norm"),
    "net_unit": Effect("4", structure("parameters"), OTHER, OTHER, "--network r18"),
    "net_se": Effect("1", structure("ops"), OTHER, OTHER, "--network r18"),
    "net_act": Effect("relu", structure("ops"), OTHER, OTHER, "--network r18"),
    "net_multiplier": Effect("0.5", structure("parameters"), OTHER, OTHER, "--network m1"),
    "densenet_dropout": Effect("0.1", structure("dropout"), False, True, "--network d169 --net_output J"),
    "vit_drop_path": Effect("0", structure("ops"), OTHER, OTHER, "--network vit_t"),
    "stochastic_depth": Effect("0.5", observe.skipped_units, [], [0.0625 * n for n in range(1, 9)], "--network r18"),
    "vit_mask_ratio": Effect("0", structure("ops"), OTHER, OTHER, "--network vit_t"),
    "net_output": Effect("FC", structure("dropout"), True, False),
    "net_blocks": Effect("2,8,16,4", structure("parameters"), OTHER, OTHER, "--network y1"),
    "bn_mom": Effect("0.99", structure("bn_mom"), {0.9}, {0.99}),
    "fc7_dtype": Effect("bf16", lambda c: observe.head(c).view_rows()["weight"].itemsize, 4, 2, HEAD),
    "fc7_storage": Effect(
        "mmap", observe.folders_of_mapped_rows, [], 2 * ["y1-arcface-emore"], f"{HEAD} --partial_fc 1"
    ),
    "fc7_storage_dir": Effect(
        "{folder}/rows",
        observe.folders_of_mapped_rows,
        2 * ["y1-arcface-emore"],
        2 * ["rows"],
        f"{HEAD} --partial_fc 1 --fc7_storage mmap",
    ),
    "sync_bn": Effect(
        "1", observe.executor_of_two_ranks, ONE_OP, "one op per node (BatchNorm is over all ranks)", "--network y1"
    ),
    "count_flops": Effect(
        "0",
        observe.announcement,
        ["Called with", "Network FLOPs:", "memory of", "93 images"],
        ["Called with", "memory of", "93 images"],
        QUICK,
    ),
    "loss_s": Effect("1", head_loss, margin_loss(1, 0.5, 0, 64), margin_loss(1, 0.5, 0, 1), HEAD),
    "loss_m1": Effect("1.35", head_loss, margin_loss(1, 0.5, 0, 64), margin_loss(1.35, 0.5, 0, 64), HEAD),
    "loss_m2": Effect("0.1", head_loss, margin_loss(1, 0.5, 0, 64), margin_loss(1, 0.1, 0, 64), HEAD),
    "loss_m3": Effect("0.35", head_loss, margin_loss(1, 0.5, 0, 64), margin_loss(1, 0.5, 0.35, 64), HEAD),
    "loss_h": Effect("1", head_loss, cosine_loss("adaface"), cosine_loss("adaface", loss_h=1), ADAFACE),
    "loss_t_alpha": Effect("0.5", head_loss, cosine_loss("adaface"), cosine_loss("adaface", loss_t_alpha=0.5), ADAFACE),
    "loss_std": Effect("0.2", head_loss, OTHER, OTHER, ELASTIC),
    "loss_plus": Effect("1", head_loss, OTHER, OTHER, ELASTIC),
    "loss_m_min": Effect("0.2", head_loss, OTHER, OTHER, f"{HEAD} --loss dynamic_arcface"),
    "loss_m_max": Effect("0.6", head_loss, OTHER, OTHER, f"{HEAD} --loss dynamic_arcface"),
    "loss_m_power": Effect("1", head_loss, OTHER, OTHER, f"{HEAD} --loss dynamic_arcface"),
    "loss_l": Effect("3", head_loss, OTHER, OTHER, f"{HEAD} --loss uniface"),
    "loss_t": Effect("0.9", head_loss, cosine_loss("mv_am"), cosine_loss("mv_am", loss_t=0.9), f"{HEAD} --loss mv_am"),
    "loss_gamma": Effect(
        "8", head_loss, cosine_loss("circle"), cosine_loss("circle", loss_gamma=8), f"{HEAD} --loss circle"
    ),
    "loss_l_a": Effect("2", head_loss, MAGFACE_LOSS, cosine_loss("magface", loss_l_a=2), MAGFACE),
    "loss_u_a": Effect("11", head_loss, MAGFACE_LOSS, cosine_loss("magface", loss_u_a=11), MAGFACE),
    "loss_l_margin": Effect("0.1", head_loss, MAGFACE_LOSS, cosine_loss("magface", loss_l_margin=0.1), MAGFACE),
    "loss_u_margin": Effect(
        "0.9",
        head_loss,
        cosine_loss("magface", loss_l_a=2),
        cosine_loss("magface", loss_l_a=2, loss_u_margin=0.9),
        f"{MAGFACE} --loss_l_a 2",
    ),
    "loss_lambda_g": Effect("1", head_loss, MAGFACE_LOSS, cosine_loss("magface", loss_lambda_g=1), MAGFACE),
    "loss_b": Effect("5", head_loss, cosine_loss("intra"), cosine_loss("intra", loss_b=5), INTRA),
    "images_per_identity": Effect("2", observe.losses, OTHER, OTHER, TRIPLETS),
    "triplet_bag_size": Effect("60", observe.losses, OTHER, OTHER, TRIPLETS),
    "triplet_alpha": Effect("0.7", observe.losses, OTHER, OTHER, TRIPLETS),
    "triplet_max_ap": Effect("1e-9", observe.losses, OTHER, [], TRIPLETS),  # no pair is that near
    "loss_lambda_base": Effect(
        "100", head_loss, cosine_loss("sphereface"), cosine_loss("sphereface", loss_lambda_base=100), SPHEREFACE
    ),
    "loss_lambda_gamma": Effect(
        "9", head_loss, cosine_loss("sphereface"), cosine_loss("sphereface", loss_lambda_gamma=9), SPHEREFACE
    ),
    "loss_lambda_power": Effect(
        "30", head_loss, cosine_loss("sphereface"), cosine_loss("sphereface", loss_lambda_power=30), SPHEREFACE
    ),
    "loss_lambda_min": Effect(
        "9000", head_loss, cosine_loss("sphereface"), cosine_loss("sphereface", loss_lambda_min=9000), SPHEREFACE
    ),
    "loss_lambda_freeze": Effect(
        "1", head_loss, cosine_loss("sphereface"), cosine_loss("sphereface", loss_lambda_freeze=1), SPHEREFACE
    ),
    "easy_margin": Effect("1", head_loss, cosine_loss("arcface"), cosine_loss("arcface", easy_margin=True), HEAD),
    "label_smoothing": Effect(
        "0.1", head_loss, cosine_loss("arcface"), cosine_loss("arcface", label_smoothing=0.1), HEAD
    ),
    "interclass_filtering_threshold": Effect(
        "0.1", head_loss, cosine_loss("arcface"), cosine_loss("arcface", interclass_filtering_threshold=0.1), HEAD
    ),
    "num_subcenters": Effect("3", lambda c: len(observe.head(c).weight), 7, 21, HEAD),
    "fc7_no_bias": Effect("1", lambda c: observe.head(c).bias is not None, True, False, SOFTMAX),
    "fc7_lr_mult": Effect("10", movement("fc7"), near(0.10005), near(1.0005), HEAD),
    "fc7_wd_mult": Effect("10", movement("fc7"), near(0.10005), near(0.1005), HEAD),
    # training data
    "nccl_fusion_threshold_mb": Effect("0", observe.transfers, [16, 64], [64]),
    "nccl_fusion_max_ops": Effect("24", observe.transfers, [16, 64], [16, 24]),
    "dataset_dir": Effect("{folder}/train3", observe.source, ("OFRecordSource", 5), ("OFRecordSource", 3), REAL),
    "name": Effect(
        "mine", observe.run_name, "r100-arcface-train5", "r100-arcface-mine", "--dataset_dir {folder}/train5"
    ),
    "num_classes": Effect("9", lambda c: len(observe.head(c).weight), 7, 9, HEAD),
    "total_img_num": Effect("17", observe.source, ("SyntheticSource", 93), ("SyntheticSource", 17), QUICK),
    "train_data_part_num": Effect(
        "2", or_error(observe.source), ("OFRecordSource", 5), "error: {folder}/train5 has 1", REAL
    ),
    "use_synthetic_data": Effect(
        "1", lambda c: observe.source(c)[0], "OFRecordSource", "SyntheticSource", f"{REAL} --total_img_num 9"
    ),
    "train_batch_size": Effect("12", observe.batch_of_three_ranks, 192, 12),
    "train_batch_size_per_device": Effect("5", observe.batch_of_three_ranks, 192, 15),
    "num_workers": Effect("1", observe.data_workers, 2, 1, QUICK),
    "data_rand_mirror": Effect("0", observe.batches, OTHER, OTHER, INLINE),
    "data_shift": Effect("3", observe.batches, OTHER, OTHER, INLINE),
    "data_zoom": Effect("0.2", observe.batches, OTHER, OTHER, INLINE),
    "data_rotation": Effect("20", observe.batches, OTHER, OTHER, INLINE),
    "data_stretch": Effect("0.2", observe.batches, OTHER, OTHER, INLINE),
    "data_contrast": Effect("0.2", observe.batches, OTHER, OTHER, INLINE),
    "data_brightness": Effect("0.2", observe.batches, OTHER, OTHER, INLINE),
    "data_color": Effect("2", observe.batches, OTHER, OTHER, INLINE),
    "data_cutoff": Effect("9", observe.batches, OTHER, OTHER, INLINE),
    "data_images_filter": Effect("2", observe.source, ("OFRecordSource", 5), ("FilteredSource", 4), REAL),
    "sampler": Effect("class", observe.batches, OTHER, OTHER, INLINE),
    "bad_images": Effect(
        "skip",
        or_error(logged("step")),
        OTHER,
        [1, 2],
        f"{VERIFY} --validation_interval 9 --dataset_dir {{folder}}/bad",
    ),
    "crop_augmentation_prob": Effect("0.5", observe.batches, OTHER, OTHER, INLINE),
    "low_res_augmentation_prob": Effect("0.5", observe.batches, OTHER, OTHER, INLINE),
    "photometric_augmentation_prob": Effect("0.5", observe.batches, OTHER, OTHER, INLINE),
    "seed": Effect("2", observe.losses, OTHER, OTHER, INLINE),
    # schedule and optimiser
    "train_unit": Effect("epoch", logged("step"), [1], list(range(1, 13)), f"{INLINE} --train_iter 1"),
    "train_iter": Effect("4", logged("step"), [1, 2], [1, 2, 3, 4], INLINE),
    "max_steps": Effect("1", logged("step"), [1, 2], [1], INLINE),
    "end_epoch": Effect("1", lambda c: logged("step")(c)[-1], 13, 12, f"{INLINE} --train_iter 13"),
    "lr": Effect("0.2", movement("bias"), near(0.1), near(0.2), HEAD),
    "lr_steps": Effect("1,2,3", logged("lr"), [0.02, 0.02], [0.02, 0.002], INLINE),
    "scales": Effect("0.5,0.1,0.01", logged("lr"), [0.02, 0.002], [0.02, 0.01], f"{INLINE} --lr_steps 1,2,3"),
    "lr_steps_batch": Effect("4", logged("lr"), [0.02, 0.02], [0.02, 0.002], f"{INLINE} --lr_steps 2 --scales 0.1"),
    "lr_schedule": Effect("cosine", logged("lr"), [0.02, 0.02], [0.02, 0.01], INLINE),
    "lr_power": Effect("2", logged("lr"), [0.02, 0.01], [0.02, 0.005], f"{INLINE} --lr_schedule poly"),
    "warmup_steps": Effect("2", logged("lr"), [0.02] * 3, [0.01, 0.02, 0.02], f"{INLINE} --train_iter 3"),
    "warmup_epochs": Effect("0.17", logged("lr"), [0.02] * 3, [0.01, 0.02, 0.02], f"{INLINE} --train_iter 3"),
    "optimizer": Effect("adamw", movement("bias", step=2), near(0.19), near(0.1), HEAD),
    "adam_betas": Effect("0.5,0.75", observe.losses, OTHER, OTHER, f"{INLINE} --optimizer adamw --train_iter 3"),
    "adam_eps": Effect("1", movement("bias"), near(0.1), near(0.05), ADAMW),
    "clip_gradient": Effect("0.01", observe.losses, OTHER, OTHER, INLINE),
    "gradient_accumulation": Effect("2", observe.losses, OTHER, OTHER, INLINE),  # BatchNorm sees the pieces
    "backbone_lr_mult": Effect("0.1", movement("bias"), near(0.1), near(0.01), HEAD),
    "layer_lr_decay": Effect("0.5", observe.losses, OTHER, OTHER, INLINE),
    "freeze_backbone_steps": Effect("1", observe.losses, OTHER, OTHER, INLINE),  # without dropout
    "freeze_bn": Effect("1", observe.losses, OTHER, OTHER, INLINE),
    "ema_decay": Effect("0.9", observe.snapshots, FULL, {"snapshot_2": sorted([*FULL["snapshot_2"], "ema"])}, SAVE),
    "teacher": Effect(GIVEN, observe.losses, OTHER, OTHER, INLINE),
    "teacher_weight": Effect("2", observe.losses, OTHER, OTHER, TAUGHT),
    "teacher_logits": Effect("2", observe.losses, OTHER, OTHER, TAUGHT_CLASSES),
    "teacher_temperature": Effect("2", observe.losses, OTHER, OTHER, f"{TAUGHT_CLASSES} --teacher_logits 2"),
    "teacher_cache": Effect("1", observe.teacher_files, 0, 1, TAUGHT),
    "teacher_color_order": Effect(
        "bgr", observe.teacher_input, ("same", 127.5, 127.5), ("swapped", 127.5, 127.5), TAUGHT
    ),
    "teacher_input_mean": Effect("0", observe.teacher_input, ("same", 127.5, 127.5), ("same", 0.0, 127.5), TAUGHT),
    "teacher_input_scale": Effect("1/9", observe.teacher_input, ("same", 127.5, 127.5), ("same", 127.5, 9.0), TAUGHT),
    "use_fp16": Effect("1", observe.executor_of_a_rank, ONE_OP, "one op on the CPU, bfloat16", "--network y1"),
    "fp16_scale": Effect(HUGE, observe.losses, OTHER, "error: the loss is", INLINE),
    "fp16_scale_window": Effect("1", observe.steps, "error: the loss is", [1, 2], f"{INLINE} --fp16_scale {HUGE}"),
    "weight_decay": Effect("0.1", movement("weight"), near(0.10005), near(0.11), HEAD),
    "momentum": Effect("0.5", movement("bias", step=2), near(0.19), near(0.15), HEAD),
    # snapshots and logs
    "models_root": Effect("{folder}/elsewhere", observe.snapshot_place, "models", "elsewhere", SAVE),
    "extra_model_name": Effect("b", observe.run_name, "r100-arcface-emore", "r100-arcface-emore-b"),
    "ckpt": Effect("1", lambda c: list(observe.snapshots(c)), [], ["snapshot_2"], f"{VERIFY} --validation_interval 2"),
    "resume": Effect("1", or_error(observe.start), OTHER, (3, True), f"{STILL} --models_root {{folder}}/given"),
    "pretrained": Effect(GIVEN, observe.start, (1, False), (1, True), STILL),
    "model_load_dir": Effect(GIVEN, observe.start, (1, False), (3, True), STILL),
    "partial_load": Effect("1", observe.kept_arrays, "refused", 7, f"{STILL} --pretrained {GIVEN}"),
    "color_order": Effect("bgr", observe.channels_of_a_file, "same", "swapped", f"--pretrained {GIVEN}"),
    "label_map": Effect("{folder}/classes.txt", observe.class_rows_of_given, [], [7], f"{STILL} --pretrained {GIVEN}"),
    "ckpt_embedding": Effect("1", observe.snapshots, FULL, {"snapshot_2": ["backbone", "snapshot"]}, SAVE),
    "iter_num_in_snapshot": Effect("1", lambda c: list(observe.snapshots(c)), [], ["snapshot_1", "snapshot_2"], INLINE),
    "save_last_snapshot": Effect("1", observe.snapshots, {}, FULL, INLINE),
    "head_stats": Effect("2", observe.head_steps, [], [2, 4], f"{INLINE} --train_iter 4"),
    "ce_loss": Effect("0", observe.shows_lossvalue, (True, True), (False, False), INLINE),
    "loss_print_frequency": Effect("2", logged("step"), [1, 2, 3, 4], [2, 4], f"{INLINE} --train_iter 4"),
    "log_dir": Effect("{folder}/said", observe.log_place, "log", "said", INLINE),
    # verification
    "do_validation_while_train": Effect("0", observe.verified_steps, VERIFIED, {"first": [], "second": []}, VERIFY),
    "validation_interval": Effect("2", observe.verified_steps, VERIFIED, {"first": [2], "second": []}, VERIFY),
    "val_targets": Effect(
        "first,second", observe.verified_steps, VERIFIED, {"first": [1, 2], "second": [1, 2]}, VERIFY
    ),
    "val_protocols": Effect(
        "identify:{folder}/people,groups:{folder}/groups.txt",
        observe.evaluated_protocols,
        {},
        {
            "identify": ["rank_1", "seconds"],
            "groups": ["accuracy_a", "accuracy_b", "accuracy_difference", "accuracy_std"],
        },
        VERIFY,
    ),
    "val_dataset_dir": Effect(
        "{folder}/train3",
        or_error(lambda c: len(observe.announcement(c))),
        4,
        "error: verification set 'first'",
        VERIFY,
    ),
    "val_data_part_num": Effect(
        "2",
        or_error(observe.verification_batch),
        20,
        "error: {folder}/parts has 1",
        f"{VERIFY} --first_dataset_dir {{folder}}/parts",
    ),
    "val_batch_size": Effect("6", observe.verification_batch, 20, 6, VERIFY),
    "val_batch_size_per_device": Effect("7", observe.verification_batch, 20, 7, VERIFY),
    "nrof_folds": Effect("9", or_error(observe.verified_steps), VERIFIED, "error: first: only 8", VERIFY),
    "far_targets": Effect("0.001,0.5", observe.measured_rates, [], ["cosine_at_far_0.5", "tar_at_far_0.5"], VERIFY),
}


def write_faces(folder: Path) -> None:
    """Write training parts of 3 images, of 5, of 5 and a bad one; sets of 8 pairs: ``first``, ``second``, and parts.

    Beside them: ``people`` with two images of each of three, and the groups of the images of a set.
    """
    source = SyntheticSource(16, 3, IMAGE_SIZE)
    faces = [encode_jpeg(source.read(i)[0]) for i in range(16)]
    for count in (3, 5):
        (folder / f"train{count}").mkdir(parents=True)
        with open(folder / f"train{count}" / "part-00000", "wb") as handle:
            for i in range(count):
                write_record(handle, encode_train_record(faces[i], i % 3))
    shutil.copytree(folder / "train5", folder / "bad")
    with open(folder / "bad" / "part-00000", "ab") as handle:
        write_record(handle, encode_train_record(b"this is not a picture", 0))
    (folder / "sets").mkdir()
    same = [True, False] * 4
    write_bin(folder / "sets" / "first.bin", faces, same)
    write_bin(folder / "sets" / "second.bin", faces[::-1], same)
    (folder / "groups.txt").write_text("".join(f"{number} {'ab'[number // 8]}\n" for number in range(16)))
    for number, face in enumerate(faces[:6]):
        (folder / "people" / str(number % 3)).mkdir(parents=True, exist_ok=True)
        (folder / "people" / str(number % 3) / f"{number}.jpg").write_bytes(face)
    (folder / "parts").mkdir()
    with open(folder / "parts" / "part-0", "wb") as handle:
        for face, flag in zip(faces, np.repeat(same, 2), strict=True):
            write_record(handle, encode_verification_record(face, bool(flag)))


def resolve(folder: Path, flags: str) -> Any:
    places = "--models_root {folder}/models --log_dir {folder}/log"
    return resolve_train_config(f"{places} {flags}".format(folder=folder).split(), folder)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    write_faces(folder)
    observe.run(resolve(folder, f"{SAVE} --seed 9 --models_root {{folder}}/given"))
    observe.run(resolve(folder, ARCFACE))
    shutil.rmtree(folder / "log")
    (folder / "classes.txt").write_text("5 7\n")
    return folder


@pytest.fixture(scope="module")
def observe_without(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[observe.Observer, str], Any]:
    """A function of an observer and flags: what it sees without another option. Options share what they start from."""

    @functools.cache
    def observe_once(observed: observe.Observer, flags: str) -> Any:
        folder = shutil.copytree(template, tmp_path_factory.mktemp("without") / "copy")
        return observed(resolve(folder, flags))

    return observe_once


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("option", TRAIN_TABLE, ids=lambda option: option.key)
def test_another_value_has_its_effect(
    template: Path, tmp_path: Path, observe_without: Callable[[observe.Observer, str], Any], option: Any
) -> None:
    effect = EFFECTS[option.key]
    if effect.before == ONE_OP and not native_calls():
        pytest.skip("it is an effect on the CPU kernels, which are not loaded here")
    given = shutil.copytree(template, tmp_path / "given")
    before = observe_without(effect.observed, effect.base)
    after = effect.observed(resolve(given, f"{effect.base} --{option.key} {effect.value}"))
    if effect.before is not OTHER:
        assert before == effect.before
    if effect.after is not OTHER:
        expected = effect.after.format(folder=given) if isinstance(effect.after, str) else effect.after
        assert after == expected
    assert after != before


def test_defaults_are_those_of_sample_config(tmp_path: Path) -> None:
    default = sample_config.default
    expected = sample_config.generate_config(default.network, default.dataset, default.loss)
    config = resolve_train_config([], tmp_path)
    for option in TRAIN_TABLE:
        assert option.key in {**default, **sample_config.config}, option.key
        assert config[option.key] == expected[option.key], option.key


def test_every_option_has_an_effect_and_no_other() -> None:
    assert sorted(option.key for option in TRAIN_TABLE) == sorted(EFFECTS)
