"""The keys of arcface_torch's config files: one row each, with its meaning here. docs/options.md shows the table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import require
from settings.verification_places import list_sets

SYNTHETIC = "synthetic"
# Of configs/base.py there.
DEFAULTS: Mapping[str, Any] = {
    "margin_list": [1.0, 0.5, 0.0],
    "network": "r50",
    "resume": False,
    "save_all_states": False,
    "output": "ms1mv3_arcface_r50",
    "embedding_size": 512,
    "sample_rate": 1,
    "interclass_filtering_threshold": 0,
    "fp16": False,
    "batch_size": 128,
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "verbose": 2000,
    "frequent": 10,
    "dali": False,
    "gradient_acc": 1,
    "seed": 2048,
    "num_workers": 2,
}
# What train_v2.py does without a key: its loss scale, its schedule, its clipping of the gradient.
ALWAYS: Mapping[str, Any] = {"loss_s": 64.0, "lr_schedule": "poly", "lr_power": 1.0, "clip_gradient": 5.0}
NETWORKS = {**{f"r{depth}": f"iresnet{depth}" for depth in (18, 34, 50, 100, 200)}}
_SAME_NETWORKS = (
    "mbf",
    "mbf_large",
    "vit_t",
    "vit_t_dp005_mask0",
    "vit_s",
    "vit_s_dp005_mask_0",
    "vit_b",
    "vit_b_dp005_mask_005",
    "vit_l_dp005_mask_005",
)
_LOSSES = {"arcface": [1.0, 0.5, 0.0], "cosface": [1.0, 0.0, 0.4]}  # config.loss of older files
Flags = dict[str, Any]
Translate = Callable[[Any, Mapping[str, Any]], Flags]


@dataclass(frozen=True)
class Key:
    """A key of arcface_torch.

    Exactly one of ``translate`` and ``notice`` is set.

    Attributes:
        name: the key.
        meaning: what it becomes here, for the documentation.
        kind: the types that its value may have.
        at_least: the least value of a number.
        translate: returns flags of this program, given the value and all values of the file.
        notice: the reason why it has no effect.
    """

    name: str
    meaning: str = ""
    kind: tuple[type, ...] = ()
    translate: Translate | None = None
    notice: str = ""
    at_least: float | None = None


_NUMBER, _WHOLE, _SWITCH = (int, float), (int,), (bool, int)


def _same(name: str, flag: str, kind: tuple[type, ...]) -> Key:
    return Key(name, f"`--{flag}`", kind, lambda value, _: {flag: value})


def _margins(value: Any, _: Mapping[str, Any]) -> Flags:
    require(
        len(value) == 3 and all(isinstance(number, _NUMBER) for number in value),
        f"margin_list = {value} must be three numbers, such as (1.0, 0.5, 0.0)",
    )
    m1, m2, m3 = map(float, value)
    loss = "combined" if m1 != 1 or (m2 and m3) else "cosface" if m3 else "arcface"
    return {"loss": loss, "loss_m1": m1, "loss_m2": m2, "loss_m3": m3}


def _network(value: Any, _: Mapping[str, Any]) -> Flags:
    known = [*NETWORKS, *_SAME_NETWORKS]
    require(value in known, f"network = {value!r} is not known here; known of arcface_torch: {', '.join(known)}")
    return {"network": NETWORKS.get(value, value)}


def _loss(value: Any, given: Mapping[str, Any]) -> Flags:
    require(value in _LOSSES, f"loss = {value!r} is not known; arcface_torch had {', '.join(_LOSSES)}")
    return _margins(_LOSSES[value], given)


def _places(value: Any, given: Mapping[str, Any]) -> Flags:
    if value == SYNTHETIC:
        return {"use_synthetic_data": True}
    return {"dataset_dir": value, "val_dataset_dir": value}


def _verified(value: Any, given: Mapping[str, Any]) -> Flags:
    place = Path(str(given.get("rec", "")))
    require(all(isinstance(name, str) for name in value), f"val_targets = {value} must be texts, such as ['lfw']")
    there = [name for name in value if not os.path.isdir(place) or name in list_sets(place)]
    if not there:
        return {"do_validation_while_train": False}
    return {"val_targets": there}


def _output(value: Any, _: Mapping[str, Any]) -> Flags:
    require(bool(value), "output is empty; give a folder, or None")
    return {"models_root": value, "log_dir": f"{value}/log"}


def _samples(value: Any, _: Mapping[str, Any]) -> Flags:
    return {"partial_fc": True, "sample_ratio": float(value)} if value < 1 else {"partial_fc": False}


def _pieces(given: Mapping[str, Any]) -> int:
    count = given.get("gradient_acc", 1)
    return count if type(count) is int and count > 0 else 1  # else said of gradient_acc


def _batch(value: Any, given: Mapping[str, Any]) -> Flags:
    return {"train_batch_size_per_device": value * _pieces(given)}


def _epochs(value: Any, _: Mapping[str, Any]) -> Flags:
    return {"end_epoch": value, "train_iter": 0, "max_steps": 0}


def _every(key: str) -> Translate:
    return lambda value, given: {key: max(1, value // _pieces(given))}


def _ineffective(notice: str, *names: str) -> list[Key]:
    return [Key(name, notice=notice) for name in names]


_WANDB = "there is no Weights & Biases here; TensorBoard files and metrics are in --log_dir"
KEYS: tuple[Key, ...] = (
    Key("margin_list", "`--loss` arcface, cosface or combined, `--loss_m1 --loss_m2 --loss_m3`", (list,), _margins),
    Key("loss", "the same of older files: arcface (m2 0.5) or cosface (m3 0.4)", (str,), _loss),
    Key("network", "`--network`: r18 ... r200 are iresnet18 ... iresnet200", (str,), _network),
    _same("embedding_size", "emb_size", _WHOLE),
    Key("sample_rate", "`--partial_fc 1 --sample_ratio` below 1, else `--partial_fc 0`", _NUMBER, _samples),
    _same("interclass_filtering_threshold", "interclass_filtering_threshold", _NUMBER),
    _same("fp16", "use_fp16", _SWITCH),
    Key("batch_size", "`--train_batch_size_per_device`, times gradient_acc", _WHOLE, _batch, at_least=1),
    _same("gradient_acc", "gradient_accumulation", _WHOLE),
    _same("optimizer", "optimizer", (str,)),
    _same("lr", "lr", _NUMBER),
    _same("momentum", "momentum", _NUMBER),
    _same("weight_decay", "weight_decay", _NUMBER),
    Key("num_epoch", "`--end_epoch`", _WHOLE, _epochs, at_least=1),
    Key("warmup_epoch", "`--warmup_epochs`; -1 is 0", _NUMBER, lambda value, _: {"warmup_epochs": max(value, 0)}),
    Key("rec", "`--dataset_dir` and `--val_dataset_dir`; synthetic: `--use_synthetic_data 1`", (str,), _places),
    _same("num_classes", "num_classes", _WHOLE),
    Key("num_image", "`--total_img_num`, for synthetic data", _WHOLE, lambda value, _: {"total_img_num": value}),
    Key("val_targets", "`--val_targets`: those that are in rec; without any no verification", (list,), _verified),
    Key("verbose", "`--validation_interval`", _WHOLE, _every("validation_interval"), at_least=1),
    Key("frequent", "`--loss_print_frequency`", _WHOLE, _every("loss_print_frequency"), at_least=1),
    Key("output", "`--models_root`, and `--log_dir` in it; None: work_dirs/NAME", (str,), _output),
    _same("resume", "resume", _SWITCH),
    _same("seed", "seed", _WHOLE),
    _same("num_workers", "num_workers", _WHOLE),
    *_ineffective("every snapshot holds all that a run needs to resume", "save_all_states"),
    *_ineffective("the loader decodes in worker processes: --num_workers", "dali", "dali_aug"),
    *_ineffective("the learning rate falls by --lr_schedule poly; --lr_schedule step has --lr_steps", "decay_epoch"),
    *_ineffective(
        _WANDB,
        "using_wandb",
        "wandb_key",
        "wandb_entity",
        "wandb_project",
        "wandb_log_all",
        "wandb_resume",
        "suffix_run_name",
        "save_artifacts",
        "notes",
    ),
)


def _describe_missing(value: Any, flags: Flags) -> str:
    missing = [name for name in value if name not in flags.get("val_targets", ())]
    return f"; not in rec, and not verified: {', '.join(missing)}" if missing else ""


def _describe_combined(_: Any, flags: Flags) -> str:
    is_other = flags["loss"] == "combined" and flags["loss_m3"] > 0
    return "; arcface_torch's loss computes the last margin alone: --loss cosface is that" if is_other else ""


# What to say of a value besides its flags.
REMARKS: Mapping[str, Callable[[Any, Flags], str]] = {
    "val_targets": _describe_missing,
    "margin_list": _describe_combined,
}


def table_lines() -> list[str]:
    """Return the Markdown table of docs/options.md."""
    lines = ["| key | here |", "|---|---|"]
    notices: dict[str, list[str]] = {}
    for key in KEYS:
        if key.notice:
            notices.setdefault(key.notice, []).append(f"`{key.name}`")
        else:
            lines.append(f"| `{key.name}` | {key.meaning} |")
    return [*lines, *(f"| {', '.join(names)} | no effect: {notice} |" for notice, names in notices.items())]
