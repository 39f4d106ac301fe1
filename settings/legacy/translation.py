"""Translate flags and keys of older programs whose value does not simply set one key.

A command line with ``--data_dir`` or a numeric ``--loss_type`` is one of train_softmax.py, whose defaults then apply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import lookup, require
from settings.legacy.flags import OLD_FLAGS
from settings.legacy.values import place_data, place_path

# By number in train_softmax.py, by name in the first versions of the OneFlow port.
LOSS_TYPES = {
    "0": "softmax",
    "1": "sphereface",
    "2": "cosface",
    "4": "arc_loss",
    "5": "combined",
    "6": "intra",
    "7": "inter",
    "softmax": "softmax",
    "margin_softmax": "arcface",
    "arc_loss": "arc_loss",
    "arc_loss_ms": "arcface",
}
NETWORKS = {"resnet100": "r100", "resnet50": "r50", "mobilefacenet": "y1"}  # names in the port's first versions
_ANGLE = {"margin_m": "loss_m2"}
_WITH_WEIGHT = {**_ANGLE, "margin_b": "loss_b"}
# The key that a flag of train_softmax.py sets depends on the loss; a loss without the flag ignores it.
LOSS_KEYS = {
    "arcface": _ANGLE,
    "arc_loss": {**_ANGLE, "margin": "loss_m2"},
    "curricularface": _ANGLE,
    "intra": _WITH_WEIGHT,
    "inter": _WITH_WEIGHT,
    "cosface": {"margin_m": "loss_m3"},
    "adaface": {"margin_m": "loss_m3"},
    "combined": {"margin_a": "loss_m1", "margin_m": "loss_m2", "margin_b": "loss_m3"},
    "sphereface": {
        "margin": "loss_m1",
        "beta": "loss_lambda_base",
        "beta_min": "loss_lambda_min",
        "gamma": "loss_lambda_gamma",
        "power": "loss_lambda_power",
    },
}
_LOSS_FLAGS = ("margin_m", "margin_a", "margin_b", "margin", "beta", "beta_min", "gamma", "power")
# The defaults of train_softmax.py; margins follow from its --margin-m 0.5 and so on.
SOFTMAX_DEFAULTS: dict[str, Any] = {
    "emb_size": 512,
    "image_size": 112,
    "net_se": 0,
    "net_input": 1,
    "net_output": "E",
    "net_unit": 3,
    "net_multiplier": 1.0,
    "net_act": "prelu",
    "bn_mom": 0.9,
    "fc7_wd_mult": 1.0,
    "fc7_lr_mult": 1.0,
    "fc7_no_bias": False,
    "easy_margin": False,
    "loss_s": 64.0,
    "lr": 0.1,
    "weight_decay": 0.0005,
    "momentum": 0.9,
    "train_batch_size": 0,
    "train_batch_size_per_device": 128,
    "data_rand_mirror": True,
    "data_cutoff": 0,
    "data_color": 0,
    "data_images_filter": 0,
    "ce_loss": False,
    "val_targets": ["lfw", "cfp_fp", "agedb_30"],
    "ckpt": 1,
    "validation_interval": 2000,
    "iter_num_in_snapshot": 2000,
    "train_unit": "batch",
    "train_iter": 0,
    "max_steps": 0,
    "end_epoch": 100000,
    "lr_steps": [100000, 140000, 160000],
    "scales": [0.1, 0.01, 0.001],
    "lr_steps_batch": 512,
}
_LOSS_DEFAULTS: dict[str, dict[str, Any]] = {
    "softmax": {"lr_steps": [40000, 60000, 80000]},
    "cosface": {"loss_m3": 0.5},
    "combined": {"loss_m1": 1.0, "loss_m2": 0.5, "loss_m3": 0.0},
}
_MANY_CLASSES = 20000  # with more classes its --loss-type 1 holds lambda at first and lowers it more slowly
_MXNET_EPOCH = 1  # default of --pretrained-epoch
_MXNET_BATCH = 128  # the meaning of --per-batch-size 0


class _Change(NamedTuple):
    """A flag that sets a key to a value."""

    flag: str
    key: str
    value: Any


class OldSettings:
    """Older flags of a command line, or older keys of a file, that need a translation.

    Attributes:
        values: their values, by name.
        notices: lines to print about them.
    """

    def __init__(self, values: Mapping[str, Any], before: str = "--") -> None:
        """Take the values by name; ``before`` is the prefix of names in messages."""
        self.values = dict(values)
        self.notices: list[str] = []
        self._before = before

    @property
    def is_train_softmax(self) -> bool:
        """Whether this is a command line of train_softmax.py."""
        return "data_dir" in self.values or str(self.values.get("loss_type", "")).isdigit()

    def choose_names(self, defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
        """Return network, dataset and loss of the run.

        Raises:
            UserError: the loss type is unknown, or two flags name different losses or datasets.
        """
        names = {**defaults, **({"network": "r50"} if self.is_train_softmax else {}), **given}
        names["network"] = name_network(names["network"])
        kind = self.values.get("loss_type", "4" if self.is_train_softmax and "loss" not in given else None)
        if kind is not None:
            names["loss"] = lookup(LOSS_TYPES, kind, "loss_type")
            require(
                given.get("loss", names["loss"]) == names["loss"],
                f"--loss {given.get('loss')} and --loss_type {kind} ({names['loss']}) are two losses; give one",
            )
        require(
            not ("data_dir" in self.values and "dataset" in given),
            f"--dataset {given.get('dataset')} and --data_dir {self.values.get('data_dir')} both name the training "
            "data; give one",
        )
        return names

    def set_defaults(self, config: dict[str, Any]) -> None:
        """Override the defaults in ``config`` by those of train_softmax.py if this is one of its command lines."""
        if not self.is_train_softmax:
            return
        defaults = {**SOFTMAX_DEFAULTS, **_LOSS_DEFAULTS.get(config["loss"], {})}
        config.update({key: value for key, value in defaults.items() if key in config})
        self.notices.append(
            "a command line of train_softmax.py: its defaults hold for what is not given, --network r50 --ckpt 1 "
            "--verbose 2000 --per_batch_size 128 --end_epoch 100000 and so on; docs/options.md lists them"
        )

    def take_mxnet_batch(self) -> int:
        """Return the batch size per rank that 0 means, and add a notice about it."""
        self.notices.append(f"--train_batch_size_per_device 0 (--per_batch_size): {_MXNET_BATCH}, as in train.py")
        return _MXNET_BATCH

    def translate(self, config: dict[str, Any], given: Mapping[str, Any], left: Mapping[str, Any]) -> None:
        """Apply the flags to ``config``.

        Args:
            config: the settings, changed in place.
            given: the keys given as flags.
            left: older keys of config.py whose meaning depends on the command line.

        Raises:
            UserError: a value is impossible, or contradicts a given key.
        """
        self.notices += place_data(self.values, config, given)
        self.notices += place_path(self.values, config, given, left.get("dataset_path"))
        self._place_pretrained(config, left.get("pretrained_epoch", _MXNET_EPOCH))
        changes = [*self._losses(config), *self._outputs(config, given), *self._samples(config)]
        if "image_shape" in self.values:
            changes.append(_Change("image_shape", "image_size", self.values["image_shape"]))
        for flag, key, value in changes:
            require(
                given.get(key, value) == value,
                f"--{flag} sets --{key} to {value}, and --{key} {given.get(key)} was given too; give one",
            )
            config[key] = value
        if "lr_steps" in given and "lr_steps_batch" not in given and self.is_train_softmax:
            config["lr_steps_batch"] = 0  # only its default steps scale with the batch
        self._slow_sphere(config, given)
        self.announce()

    def translate_file(self, config: dict[str, Any]) -> None:
        """Apply the keys of a file to ``config``.

        Raises:
            UserError: a value is impossible.
        """
        for _, key, value in [*self._losses(config), *self._samples(config)]:
            config[key] = value
        self.announce()

    def _losses(self, config: Mapping[str, Any]) -> list[_Change]:
        keys = LOSS_KEYS.get(config["loss"]) or LOSS_KEYS.get(config["loss_name"], {})
        found = []
        for flag in _LOSS_FLAGS:
            if flag in self.values and flag in keys:
                found.append(_Change(flag, keys[flag], self.values[flag]))
            elif flag in self.values:
                self.notices.append(f"{self._before}{flag} has no effect: --loss {config['loss']} does without it")
        require(
            not self.is_train_softmax or config["loss"] not in ("intra", "inter") or self.values.get("margin_b", 0) > 0,
            f"--loss_type {self.values.get('loss_type')} needs --margin_b above 0, the weight of its second term",
        )
        return found

    def _outputs(self, config: Mapping[str, Any], given: Mapping[str, Any]) -> list[_Change]:
        found = []
        if "verbose" in self.values:
            every = self.values["verbose"]
            require(every > 0, f"--verbose {every} must be at least 1")
            require(
                config["train_unit"] == "batch",
                f"--verbose {every} counts batches, and --train_unit {config['train_unit']} does not; "
                "take --validation_interval",
            )
            found.append(_Change("verbose", "validation_interval", every))
            if "iter_num_in_snapshot" not in given:
                found.append(_Change("verbose", "iter_num_in_snapshot", every))
        if "prefix" in self.values:
            prefix = Path(self.values["prefix"])
            require(bool(prefix.name), f"--prefix {prefix} has no name; expected FOLDER/NAME")
            found.append(_Change("prefix", "models_root", str(prefix.parent)))
            found.append(_Change("prefix", "extra_model_name", prefix.name))
        return found

    def _place_pretrained(self, config: dict[str, Any], usual: int) -> None:
        prefix, epoch = config["pretrained"], self.values.get("pretrained_epoch")
        if not prefix:
            if epoch is not None:
                self.notices.append(f"--pretrained_epoch {epoch} has no effect: there is no --pretrained")
            return
        said = re.search(r",\s*(\d+)$", prefix)
        if said:
            require(
                epoch in (None, int(said[1])),
                f"--pretrained {prefix} and --pretrained_epoch {epoch} contradict each other; give one epoch",
            )
            return
        if epoch is None and (Path(prefix).exists() or not Path(f"{prefix}-symbol.json").exists()):
            return
        config["pretrained"] = f"{prefix},{usual if epoch is None else epoch}"
        if epoch is None:
            self.notices.append(f"--pretrained {prefix}: epoch {usual}, the default of --pretrained_epoch")

    def _samples(self, config: Mapping[str, Any]) -> list[_Change]:
        if "num_sample" not in self.values:
            return []
        count, classes = self.values["num_sample"], config["num_classes"]
        shown = f"{self._before}num_sample {count}"
        require(0 < count <= classes, f"{shown} must be at least 1 and at most num_classes {classes}")
        return [_Change("num_sample", "sample_ratio", count / classes)]

    def _slow_sphere(self, config: dict[str, Any], given: Mapping[str, Any]) -> None:
        if not self.is_train_softmax or config["loss"] != "sphereface" or config["num_classes"] <= _MANY_CLASSES:
            return
        if "loss_lambda_freeze" not in given:
            config["loss_lambda_freeze"] = 5000
        if "loss_lambda_gamma" not in given and "gamma" not in self.values:
            config["loss_lambda_gamma"] = 0.06

    def announce(self, of_other_keys: str = "") -> None:
        """Add notices about flags without effect; ``of_other_keys`` is the reason if the table has none."""
        reasons: dict[str, list[str]] = {}
        for row in OLD_FLAGS:
            if row.name in self.values and (row.notice or of_other_keys):
                names = reasons.setdefault(row.notice or of_other_keys, [])
                names += [row.name] if row.name not in names else []
        between = f", {self._before}" if self._before == "--" else ", "
        for reason, names in reasons.items():
            have = "has" if len(names) == 1 else "have"
            self.notices.append(f"{self._before}{between.join(names)} {have} no effect: {reason}")


def name_network(name: str) -> str:
    """Return the present name of a network of the OneFlow port's first versions."""
    return NETWORKS.get(name, name)
