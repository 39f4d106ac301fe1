"""Config files of arcface_torch: each key sets what it says or is announced, and no code of a file runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import UserError
from settings.legacy.arcface_keys import DEFAULTS, KEYS, table_lines
from settings.legacy.arcface_torch import with_config
from settings.legacy.python_values import read_assignments
from settings.parser import split_command
from settings.train_command import TrainCommand, read_train_command

ROOT = Path(__file__).resolve().parents[3]
# As configs/ms1mv3_r50.py there, on synthetic images.
CONFIG = """from easydict import EasyDict as edict

# make training faster
config = edict()
config.margin_list = (1.0, 0.5, 0.0)
config.network = "r50"
config.resume = False
config.output = None
config.embedding_size = 512
config.sample_rate = 1.0
config.fp16 = True
config.momentum = 0.9
config.weight_decay = 5e-4
config.batch_size = 128
config.lr = 0.1
config.verbose = 2000
config.dali = False

config.rec = "synthetic"
config.num_classes = 100 * 10
config.num_image = 5179510
config.num_epoch = 20
config.warmup_epoch = config.num_epoch // 10
config.val_targets = ['lfw', 'cfp_fp', "agedb_30"]
"""


def write(folder: Path, *lines: str, name: str = "ms1mv3_r50.py") -> Path:
    (folder / name).write_text(CONFIG + "\n".join(lines) + "\n")
    return folder / name


def read(path: Path, *flags: str) -> TrainCommand:
    return read_train_command(["--config", str(path), *flags], path.parent)


def test_a_config_file_is_the_run_that_it_describes(tmp_path: Path) -> None:
    command = read(write(tmp_path))
    expected = {
        "network": "iresnet50",
        "loss": "arcface",
        "loss_m2": 0.5,
        "loss_s": 64.0,
        "emb_size": 512,
        "partial_fc": False,
        "use_fp16": True,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "train_batch_size_per_device": 128,
        "train_batch_size": 0,
        "lr": 0.1,
        "lr_schedule": "poly",
        "lr_power": 1.0,
        "clip_gradient": 5.0,
        "validation_interval": 2000,
        "use_synthetic_data": True,
        "num_classes": 1000,
        "total_img_num": 5179510,
        "end_epoch": 20,
        "train_iter": 0,
        "warmup_epochs": 2.0,
        "models_root": "work_dirs/ms1mv3_r50",
        "seed": 2048,
        "loss_print_frequency": 10,
        "optimizer": "sgd",
    }
    assert {key: command.config[key] for key in expected} == expected
    said = "\n".join(command.notices)
    assert "ms1mv3_r50.py: network = 'r50': --network iresnet50" in said
    assert "ms1mv3_r50.py: dali: no effect: the loader decodes in worker processes" in said
    assert "not in the file, as in configs/base.py of arcface_torch: interclass_filtering_threshold 0" in said
    assert all(
        f": {name} = " in said or f": {name}: no effect" in said
        for name in read_assignments(tmp_path / "ms1mv3_r50.py", "config")
    )
    again = read_train_command(split_words(command.translation), tmp_path)
    assert again.config == command.config


def split_words(text: str) -> list[str]:
    return text.split()


def test_it_comes_first_without_a_flag_and_without_a_suffix(tmp_path: Path) -> None:
    path = write(tmp_path)
    command = read_train_command([str(path.with_suffix("")), "--lr", "0.3", "--network", "mbf"], tmp_path)
    assert (command.config.lr, command.config.network, command.config.end_epoch) == (0.3, "mbf", 20)
    assert "ms1mv3_r50.py: lr = 0.1: overridden by the command line" in command.notices


def test_a_loss_of_the_command_line_has_its_own_margins(tmp_path: Path) -> None:
    config = read(write(tmp_path), "--loss", "cosface").config
    assert (config.loss, config.loss_m2, config.loss_m3) == ("cosface", 0.0, 0.35)


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("config.margin_list = (1.0, 0.0, 0.4)", {"loss": "cosface", "loss_m1": 1.0, "loss_m2": 0.0, "loss_m3": 0.4}),
        ("config.margin_list = (1.0, 0.3, 0.2)", {"loss": "combined", "loss_m2": 0.3, "loss_m3": 0.2}),
        ("config.sample_rate = 0.1", {"partial_fc": True, "sample_ratio": 0.1}),
        ("config.interclass_filtering_threshold = 0.4", {"interclass_filtering_threshold": 0.4}),
        ("config.network = 'vit_b_dp005_mask_005'", {"network": "vit_b_dp005_mask_005"}),
        ("config.optimizer = 'adamw'", {"optimizer": "adamw"}),
        ("config.embedding_size = 256", {"emb_size": 256}),
        ("config.output = 'here'", {"models_root": "here", "log_dir": "here/log"}),
        ("config.resume = True", {"resume": True}),
        ("config.warmup_epoch = -1", {"warmup_epochs": 0.0}),
        ("config.frequent = 7", {"loss_print_frequency": 7}),
        ("config.num_workers = 5", {"num_workers": 5}),
        ("config.seed = 9", {"seed": 9}),
        ("config.momentum = 0.8", {"momentum": 0.8}),
        (
            "config.gradient_acc = 4",
            {"gradient_accumulation": 4, "train_batch_size_per_device": 512, "validation_interval": 500},
        ),
        ("config.val_targets = []", {"do_validation_while_train": False}),
        ("import easydict\nconfig = easydict.EasyDict(lr=0.5, rec='synthetic')", {"lr": 0.5}),
        ("from easydict import EasyDict as ed\nconfig = ed({'lr': 0.5, 'rec': 'synthetic'})", {"lr": 0.5}),
    ],
)
def test_a_key_sets_what_it_says(tmp_path: Path, line: str, settings: dict) -> None:
    command = read(write(tmp_path, line))
    assert {key: command.config[key] for key in settings} == settings


def test_a_place_whose_name_is_too_long_is_one_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, f"config.rec = '{'a' * 300}'")
    words, _ = with_config(split_command(["--config", str(path)]))
    assert {word.flag: word.value for word in words}["--val_targets"] == "lfw,cfp_fp,agedb_30"


def test_the_sets_that_are_in_the_folder_are_verified(tmp_path: Path) -> None:
    (tmp_path / "lfw.bin").write_bytes(b"\x80")
    path = write(tmp_path, f"config.rec = '{tmp_path}'")
    words, notices = with_config(split_command(["--config", str(path)]))
    flags = {word.flag: word.value for word in words}
    assert (flags["--val_targets"], flags["--dataset_dir"]) == ("lfw", str(tmp_path))
    assert any("--val_targets lfw; not in rec, and not verified: cfp_fp, agedb_30" in notice for notice in notices)


def test_a_base_beside_it_wins_over_that_of_arcface_torch(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("config = edict(frequent=3, seed=1)\nconfig.unknown = 1\n")
    command = read(write(tmp_path))
    assert (command.config.loss_print_frequency, command.config.seed, command.config.num_workers) == (3, 1, 2)
    assert any("base.py: " in notice and "frequent 3" in notice for notice in command.notices)


@pytest.mark.parametrize("name", [key.name for key in KEYS if key.notice] + ["something_new"])
def test_a_key_without_a_counterpart_is_one_line(tmp_path: Path, name: str) -> None:
    without, command = read(write(tmp_path)), read(write(tmp_path, f"config.{name} = 1"))
    assert command.config == without.config
    assert sum(f": {name}: no effect: " in notice for notice in command.notices) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.lr = open('x')", r"line 25: 'open\('x'\)' is not read, because no code of the file is run"),
        ("import os; os.remove('x')", r"'os.remove\('x'\)' is not read"),
        ("config.lr = [[1]]", "is not read"),
        ("config.lr = 'a' * 9", "is not read"),
        ("config.lr = 10**10", "is not read"),
        ("config.lr = 1 / 0", "line 25: division by zero"),
        ("x = 10.0\n" + "x = x * x\n" * 10, "the value becomes too large"),
        ("config.lr = ", "is not Python"),
        ("config.lr = " + "-" * 5000 + "1", "is not Python|nested too deeply"),
        ("config.lr = '0.1'", r"lr = '0.1' is not of the type"),
        ("config.fp16 = 'no'", r"fp16 = 'no' is not of the type"),
        ("config.margin_list = (1.0, 0.5)", "must be three numbers"),
        (f"config.margin_list = ({10**400}, 0.5, 0.0)", "line 25: the number is too large"),
        ("config.val_targets = [1, 2]", r"val_targets = \[1, 2\] must be texts"),
        ("config.output = ''", "output is empty; give a folder, or None"),
        ("config.batch_size = 0", "batch_size = 0 must be at least 1"),
        ("config.num_epoch = 0", "num_epoch = 0 must be at least 1"),
        ("config.verbose = -2", "verbose = -2 must be at least 1"),
        ("config.gradient_acc = 0", "--gradient_accumulation 0 must be at least 1"),
        ("config.network = 'r2060'", "network = 'r2060' is not known here; known of arcface_torch: r18, "),
    ],
)
def test_a_mistake_is_one_line_and_nothing_runs(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, line)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "--gradient_accumulation" in message


def test_all_mistakes_are_listed(tmp_path: Path) -> None:
    for lines in (("config.network = 'r2060'", "config.optimizer = 3"), ("config.lr = f(1)", "print(config)")):
        with pytest.raises(UserError) as caught:
            read(write(tmp_path, *lines))
        assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["", "lr = 0.1\n", "import os\n"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.py").write_text(text)
    with pytest.raises(UserError, match="other.py assigns nothing to 'config'; expected lines like config.lr = 0.1"):
        read(tmp_path / "other.py")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--config configs/none is not a file; expected a config of arcface_torch"):
        read_train_command(["configs/none"], tmp_path)


def test_the_documentation_has_the_table() -> None:
    text = (ROOT / "docs" / "options.md").read_text()
    assert "\n".join(table_lines()) in text
    assert set(DEFAULTS) <= {key.name for key in KEYS}
