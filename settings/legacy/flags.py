"""The flags of the programs that this project replaces: one row each, with its meaning here.

``MXNET`` is InsightFace's train.py and train_parall.py (of SubCenter-ArcFace too), ``SOFTMAX`` its older
src/train_softmax.py, ``VERIFICATION`` its verification.py, ``ARCFACE`` the train_v2.py of its
arcface_torch, ``PORT`` the OneFlow port's insightface_train.py in all its
versions (older ones called it insightface_train_val.py), ``VAL`` its insightface_val.py. Keys of their sample_config.py
count as flags, and a config.py made from one is read by this table too (``settings.legacy.config_file``).
docs/options.md shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from settings.legacy.values import parse_image_shape

MXNET, SOFTMAX, PORT, VAL = "train.py", "train_softmax.py", "insightface_train.py", "insightface_val.py"
VERIFICATION = "verification.py"
ARCFACE = "train_v2.py"
PARSERS = (MXNET, SOFTMAX, PORT, VAL, VERIFICATION, ARCFACE)


@dataclass(frozen=True)
class OldFlag:
    """One flag, spelled with underscores; dashes mean the same.

    Exactly one of ``key``, ``meaning`` and ``notice`` is set.

    Attributes:
        parsers: the programs that have it.
        key: the key of sample_config.py that takes its value unchanged.
        meaning: its translation, for the documentation; ``settings.legacy.translation`` translates it.
        notice: the reason why it has no effect, printed if the flag is given.
        parse: parses the value of a translated flag.
    """

    flag: str
    parsers: tuple[str, ...]
    key: str = ""
    meaning: str = ""
    notice: str = ""
    parse: Callable[[str], Any] = str

    @property
    def name(self) -> str:
        """The flag without its leading dashes."""
        return self.flag.lstrip("-")

    def describe(self) -> str:
        """Return its meaning here, for the documentation."""
        if self.key:
            return f"`--{self.key}`"
        return self.meaning or f"no effect: {self.notice}"


def _same(parsers: tuple[str, ...], *names: str) -> list[OldFlag]:
    return [OldFlag(f"--{name}", parsers, key=name) for name in names]


def _renamed(parsers: tuple[str, ...], **names: str) -> list[OldFlag]:
    return [OldFlag(f"--{name}", parsers, key=key) for name, key in names.items()]


def _ineffective(parsers: tuple[str, ...], notice: str, *names: str) -> list[OldFlag]:
    return [OldFlag(f"--{name}", parsers, notice=notice) for name in names]


_ALL = (MXNET, SOFTMAX, PORT)
_BOTH = (PORT, VAL)
SETS = ("lfw", "cfp_fp", "agedb_30")
_ONE_NUMBER = "--val_data_part_num holds for all sets"
_COUNTED = "the images of a set are counted when it is read"
_LAYOUT = "the loader takes every part-N and part-0000N of the folder, with any number of digits"
_OWN_KERNELS = "memory layouts and workspaces are chosen by cuDNN and by the CPU kernels"

OLD_FLAGS: tuple[OldFlag, ...] = (
    # ------------------------------------------------------------------ network, dataset, loss, machines
    *_same((MXNET, PORT, VAL), "dataset", "loss"),
    *_same((MXNET, SOFTMAX, PORT, VAL), "network"),
    OldFlag("-network", (VAL,), key="network"),
    *_same(_BOTH, "device_num_per_node", "num_nodes"),
    *_same((PORT,), "node_ips", "model_parallel", "partial_fc", "sample_ratio"),
    *_renamed(_BOTH, gpu_num_per_node="device_num_per_node"),
    *_renamed((MXNET,), worker_id="node_rank"),
    OldFlag("--num_sample", (PORT,), meaning="`--sample_ratio`: that many of `num_classes`", parse=int),
    *_same((PORT,), "use_fp16", "nccl_fusion_threshold_mb", "nccl_fusion_max_ops"),
    *_same((MXNET,), "fp16_scale"),
    *_renamed((MXNET,), fp16="use_fp16"),
    *_ineffective(
        (MXNET,), "the ranks sum their gradients with OneFlow's collectives; --num_nodes for machines", "kvstore"
    ),
    *_ineffective((MXNET,), _OWN_KERNELS, "workspace"),
    *_ineffective((MXNET,), "it had no effect there either; --gradient_accumulation saves memory", "memonger"),
    OldFlag("--config", (ARCFACE,), meaning="a config file of arcface_torch: its keys as flags, table above"),
    # ------------------------------------------------------------------ network and head
    *_renamed(
        (SOFTMAX,),
        version_se="net_se",
        version_input="net_input",
        version_output="net_output",
        version_unit="net_unit",
        version_multiplier="net_multiplier",
        version_act="net_act",
    ),
    *_same((MXNET,), "net_se", "net_act", "net_unit", "net_input", "net_output", "net_multiplier", "densenet_dropout"),
    *_same((MXNET, PORT), "net_blocks", "count_flops", "num_classes"),
    *_renamed((PORT,), fc_type="net_output", class_num="num_classes"),
    *_same((SOFTMAX,), "image_size"),
    OldFlag("--image_shape", (MXNET,), meaning="`--image_size`: its height and width", parse=parse_image_shape),
    *_same(_ALL, "emb_size"),
    *_same((MXNET, SOFTMAX), "bn_mom", "fc7_wd_mult", "fc7_lr_mult", "fc7_no_bias"),
    *_ineffective((SOFTMAX,), "no deformable convolutions here; few networks ever had them", "use_deformable"),
    *_ineffective((PORT,), "training and verification set the mode of BatchNorm automatically", "bn_is_training"),
    *_ineffective((PORT,), "the width follows from the network", "input_channel"),
    *_ineffective(
        (PORT,), _OWN_KERNELS, "channel_last", "pad_output", "data_format", "cudnn_conv_heuristic_search_algo"
    ),
    *_ineffective(
        (PORT,),
        "the update is computed outside of the compiled graph",
        "enable_fuse_model_update_ops",
        "enable_fuse_add_to_output",
    ),
    # ------------------------------------------------------------------ loss
    OldFlag("--loss_type", (SOFTMAX, PORT), meaning="`--loss`, by number or name"),
    *_renamed((SOFTMAX, PORT), margin_s="loss_s"),
    *_same((MXNET, PORT), "loss_s", "loss_m1", "loss_m2", "loss_m3"),
    *_same((SOFTMAX, PORT), "easy_margin"),
    OldFlag("--margin_m", (SOFTMAX,), meaning="`--loss_m2`; of `cosface` and `adaface` `--loss_m3`", parse=float),
    OldFlag("--margin_a", (SOFTMAX,), meaning="`--loss_m1` of `combined`", parse=float),
    OldFlag(
        "--margin_b", (SOFTMAX,), meaning="`--loss_m3` of `combined`, `--loss_b` of `intra` and `inter`", parse=float
    ),
    OldFlag("--margin", (SOFTMAX, PORT), meaning="`--loss_m1` of `sphereface`, `--loss_m2` of `arc_loss`", parse=float),
    OldFlag("--beta", (SOFTMAX,), meaning="`--loss_lambda_base` of `sphereface`", parse=float),
    OldFlag("--beta_min", (SOFTMAX,), meaning="`--loss_lambda_min` of `sphereface`", parse=float),
    OldFlag("--gamma", (SOFTMAX,), meaning="`--loss_lambda_gamma` of `sphereface`", parse=float),
    OldFlag("--power", (SOFTMAX,), meaning="`--loss_lambda_power` of `sphereface`", parse=float),
    *_renamed((SOFTMAX,), beta_freeze="loss_lambda_freeze"),
    *_ineffective((SOFTMAX,), "lambda of sphereface goes by --beta, --beta_min, --gamma and --power alone", "scale"),
    *_same((MXNET, SOFTMAX), "ce_loss"),
    *_renamed((MXNET,), loss_K="num_subcenters"),
    *_same((MXNET,), "images_per_identity", "triplet_alpha", "triplet_bag_size", "triplet_max_ap"),
    # ------------------------------------------------------------------ training data
    OldFlag(
        "--data_dir",
        (SOFTMAX, VERIFICATION),
        meaning="`--dataset_dir`, `--val_dataset_dir`, `--num_classes` of its `property`",
    ),
    *_same((PORT,), "dataset_dir", "total_img_num", "train_data_part_num"),
    OldFlag(
        "--dataset_path",
        (MXNET,),
        meaning="`--dataset_dir`, itself or its `ofrecord/train`; `--val_dataset_dir`, where its sets are",
    ),
    *_renamed((PORT,), train_data_dir="dataset_dir"),
    *_ineffective(
        (MXNET,), "the parts keep the order in which they were written; each epoch is shuffled", "is_shuffled_rec"
    ),
    *_ineffective((MXNET,), "the identities of images are not changed", "flip_noise_prob"),
    *_ineffective((PORT,), _LAYOUT, "part_name_prefix", "part_name_suffix_length"),
    *_ineffective((PORT,), "each epoch is shuffled, depending on --seed", "shuffle"),
    *_same((PORT,), "use_synthetic_data", "train_batch_size", "train_batch_size_per_device"),
    *_renamed((MXNET, SOFTMAX), per_batch_size="train_batch_size_per_device"),
    *_same((MXNET,), "data_rand_mirror", "data_cutoff", "data_color", "data_images_filter"),
    *_renamed(
        (SOFTMAX,),
        rand_mirror="data_rand_mirror",
        cutoff="data_cutoff",
        color="data_color",
        images_filter="data_images_filter",
    ),
    # ------------------------------------------------------------------ schedule and optimiser
    *_same((PORT,), "train_unit", "train_iter", "scales"),
    *_renamed((PORT,), total_batch_num="train_iter"),
    *_same((MXNET, SOFTMAX), "max_steps", "end_epoch"),
    *_same(_ALL, "lr", "lr_steps"),
    *_renamed((PORT,), base_lr="lr"),
    *_renamed((MXNET, SOFTMAX), wd="weight_decay", mom="momentum"),
    *_same((PORT,), "weight_decay", "momentum"),
    OldFlag("-wd", (PORT,), key="weight_decay"),
    OldFlag("-mom", (PORT,), key="momentum"),
    # ------------------------------------------------------------------ snapshots and logs
    *_same((MXNET, PORT), "models_root"),
    *_renamed((PORT,), model_save_dir="models_root"),
    OldFlag("--prefix", (SOFTMAX,), meaning="`--models_root` and `--extra_model_name`: the folder and the rest of it"),
    *_same((MXNET,), "extra_model_name", "ckpt_embedding"),
    *_ineffective((PORT,), "the class rows are called fc7 in every snapshot", "models_name"),
    *_same((MXNET, SOFTMAX), "pretrained"),
    OldFlag("--pretrained_epoch", (MXNET,), meaning="the EPOCH of `--pretrained PREFIX,EPOCH`", parse=int),
    *_same(_BOTH, "model_load_dir", "log_dir"),
    *_same((PORT,), "iter_num_in_snapshot", "save_last_snapshot"),
    *_renamed(
        (PORT,),
        batch_num_in_snapshot="iter_num_in_snapshot",
        num_of_batches_in_snapshot="iter_num_in_snapshot",
        batches_num_in_snapshot="iter_num_in_snapshot",
    ),
    *_same(_ALL, "ckpt"),
    *_same((PORT,), "loss_print_frequency"),
    *_renamed((MXNET,), frequent="loss_print_frequency"),
    *_renamed((PORT,), loss_print_steps="loss_print_frequency"),
    # ------------------------------------------------------------------ verification
    OldFlag("--verbose", (MXNET, SOFTMAX), meaning="`--validation_interval` and `--iter_num_in_snapshot`", parse=int),
    *_renamed((SOFTMAX, VAL, VERIFICATION), target="val_targets"),
    OldFlag("--model", (VERIFICATION,), meaning="`--model_load_dir`; without an epoch all of the prefix"),
    OldFlag("--batch_size", (VERIFICATION,), meaning="`--val_batch_size`", parse=int),
    OldFlag("--max", (VAL, VERIFICATION), meaning="the newest epochs of `--model PREFIX`: those from A to B of `A,B`"),
    OldFlag("--mode", (VAL, VERIFICATION), meaning="1: `--bad_cases 20 --report badcases`; 0: none", parse=int),
    *_ineffective((VERIFICATION,), "CUDA_VISIBLE_DEVICES chooses GPUs", "gpu"),
    *_renamed(_BOTH, val_dataset="val_targets"),
    *_same((MXNET, PORT), "val_targets"),
    *_same((PORT,), "do_validation_while_train", "validation_interval", "val_dataset_dir", "val_batch_size"),
    *_same(_BOTH, "val_data_part_num", "val_batch_size_per_device", "nrof_folds"),
    *_renamed(
        (PORT,), do_validataion_while_train="do_validation_while_train", validataion_interval="validation_interval"
    ),
    *_renamed(_BOTH, lfw_batch_size="val_batch_size"),
    *_renamed((VAL, VERIFICATION), nfolds="nrof_folds"),
    *(OldFlag(f"--{name}_dataset_dir", _BOTH, key=f"{name}_dataset_dir") for name in SETS),
    OldFlag("--lfw_data_dir", _BOTH, key="lfw_dataset_dir"),
    *(OldFlag(f"--{name}_data_dir", (PORT,), key=f"{name}_dataset_dir") for name in SETS[1:]),
    *_ineffective(_BOTH, _COUNTED, *(f"{name}_total_images_num" for name in SETS)),
    *_ineffective(_BOTH, _ONE_NUMBER, "lfw_data_part_num"),
    *_ineffective((PORT,), _ONE_NUMBER, *(f"{name}_data_part_num" for name in SETS[1:])),
)


def rows_beyond(keys: Collection[str], parsers: Sequence[str] = PARSERS) -> list[OldFlag]:
    """Return the flags of ``parsers`` that set none of ``keys`` and no path of a verification set."""
    rows = [row for row in OLD_FLAGS if set(row.parsers) & set(parsers)]
    return [row for row in rows if row.key not in keys and not row.key.endswith("_dataset_dir")]


def table_lines() -> list[str]:
    """Return the Markdown table of docs/options.md."""
    lines = ["| flag | " + " | ".join(PARSERS) + " | here |", "|---|" + "---|" * (len(PARSERS) + 1)]
    for row in OLD_FLAGS:
        marks = ["x" if parser in row.parsers else "" for parser in PARSERS]
        lines.append(f"| `{row.flag}` | {' | '.join(marks)} | {row.describe()} |")
    return lines
