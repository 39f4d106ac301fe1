"""Hints for unknown flags: the nearest known flag, or the equivalent of another trainer's flag."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_EPOCHS = "--end_epoch N, or --train_unit epoch --train_iter N"
_BATCH = "--train_batch_size over all ranks, or --train_batch_size_per_device"
_PLACE = "--models_root for snapshots, --log_dir for logs"
_RESUME = "--resume 1 continues the newest snapshot in --models_root, --model_load_dir a given one"
_START = "--pretrained starts from a backbone, --model_load_dir continues a run"
_FREEZING = "--freeze_backbone_steps N trains the class rows alone for N batches, --freeze_bn 1 keeps BatchNorm"
# Flags of other trainers -> the equivalent here.
ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("learning_rate", "base_learning_rate", "lr_init", "init_lr", "lr_rate"), "--lr"),
    **dict.fromkeys(("batch_size", "batchsize", "bs", "b", "global_batch_size"), _BATCH),
    **dict.fromkeys(("epochs", "epoch", "num_epochs", "num_epoch", "max_epoch", "max_epochs"), _EPOCHS),
    **dict.fromkeys(("iterations", "num_steps", "max_iter", "total_steps"), "--train_iter"),
    **dict.fromkeys(("workers", "num_worker", "dataloader_num_workers", "j"), "--num_workers"),
    **dict.fromkeys(("freeze", "freeze_backbone", "fixed_backbone", "frozen_stages", "fixed_param_names"), _FREEZING),
    **dict.fromkeys(("freeze_batch_norm", "bn_eval", "norm_eval", "frozen_bn"), "--freeze_bn 1"),
    **dict.fromkeys(("backbone_lr", "lr_mult", "backbone_lr_scale"), "--backbone_lr_mult, a factor on --lr"),
    **dict.fromkeys(("strict", "allow_missing", "ignore_mismatched_sizes"), "--partial_load 1"),
    **dict.fromkeys(("bgr", "swap_rb", "swap_channels", "rgb2bgr", "channel_order"), "--color_order bgr"),
    **dict.fromkeys(("mean", "std", "scale", "input_std", "normalize"), "--input_scale and --input_mean"),
    **dict.fromkeys(
        ("gpus", "gpu", "num_gpus", "ngpus", "nproc_per_node", "devices", "num_ranks"), "--device_num_per_node"
    ),
    **dict.fromkeys(("nnodes", "world_size"), "--num_nodes"),
    **dict.fromkeys(("output", "output_dir", "save_dir", "work_dir", "checkpoint_dir", "out"), _PLACE),
    **dict.fromkeys(("resume_from", "resume_from_checkpoint", "auto_resume", "continue"), _RESUME),
    **dict.fromkeys(("checkpoint", "weights", "load", "load_from", "finetune", "init_from"), _START),
    **dict.fromkeys(("arch", "model", "backbone", "net"), "--network"),
    **dict.fromkeys(("data", "data_path", "data_root", "rec", "train_dir"), "--dataset_dir"),
    **dict.fromkeys(("head", "criterion", "margin_loss"), "--loss"),
    **dict.fromkeys(("amp", "half", "mixed_precision", "bf16"), "--use_fp16 on GPUs, --use_bf16 on a CPU"),
    **dict.fromkeys(("sample_rate",), "--sample_ratio"),
    **dict.fromkeys(("embedding_size", "embedding_dim", "feat_dim"), "--emb_size"),
    **dict.fromkeys(("num_image", "num_images"), "--total_img_num"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_policy"), "--lr_schedule"),
    **dict.fromkeys(("milestones", "decay_epoch", "decay_steps"), "--lr_steps, in batches"),
    **dict.fromkeys(("opt", "optim"), "--optimizer"),
    **dict.fromkeys(("clip_grad", "grad_clip", "max_grad_norm", "clip_grad_norm"), "--clip_gradient"),
    **dict.fromkeys(
        ("accumulate", "accumulation_steps", "gradient_accumulation_steps", "accum_iter"), "--gradient_accumulation"
    ),
    **dict.fromkeys(("print_freq", "log_interval", "logging_steps"), "--loss_print_frequency"),
    **dict.fromkeys(("save_freq", "save_interval", "save_steps"), "--iter_num_in_snapshot"),
    **dict.fromkeys(("eval_freq", "eval_interval", "eval_steps"), "--validation_interval"),
    **dict.fromkeys(("warmup", "warmup_iters"), "--warmup_steps or --warmup_epochs"),
    **dict.fromkeys(("config", "cfg"), "copy sample_config.py to config.py and edit it"),
}


def hint(flag: str, known: Iterable[str]) -> str:
    """Return a hint for the unknown ``flag``, to continue a message; empty if no flag is similar."""
    name = flag.lstrip("-").lower()
    flags = list(known)
    here = ELSEWHERE.get(name)
    if here is not None and (not here.startswith("--") or here.split(" ")[0].rstrip(",") in flags):
        return f"; here: {here}"
    close = difflib.get_close_matches(f"--{name}", flags, 1, 0.7)
    return f"; did you mean {close[0]}?" if close else ""
