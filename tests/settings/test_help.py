"""What the commands say of themselves, and of flags that they do not know."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from settings.hints import ELSEWHERE, hint
from settings.options import TRAIN_TABLE
from settings.train_command import read_train_command, resolve_train_config
from settings.verify_command import VAL_TABLE

ROOT = Path(__file__).resolve().parents[2]
FLAGS = {flag for option in TRAIN_TABLE for flag in option.flags}


def run(program: str, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / program), *argv], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        ("--learning_rate 1", "here: --lr;"),
        ("--batch-size 8", "here: --train_batch_size over all ranks, or --train_batch_size_per_device;"),
        ("--epochs 3", "here: --end_epoch N, or --train_unit epoch --train_iter N;"),
        ("--workers 2", "here: --num_workers;"),
        ("--freeze 1", "here: --freeze_backbone_steps N trains the class rows alone for N batches,"),
        ("--fixed_param_names conv_1", "here: --freeze_backbone_steps N"),
        ("--norm_eval 1", "here: --freeze_bn 1"),
        ("--strict 0", "here: --partial_load 1"),
        ("--gpus 2", "here: --device_num_per_node;"),
        ("--output x", "here: --models_root for snapshots, --log_dir for logs;"),
        ("--resume_from x", "here: --resume 1 continues the newest snapshot in --models_root,"),
        ("--momentun 0.9", r"did you mean --momentum\?;"),
        ("--Network y1", r"did you mean --network\?;"),
        ("--xyzzy 1", "unknown flag --xyzzy 1; --help"),
    ],
)
def test_an_unknown_flag_names_what_is_known(tmp_path: Path, argv: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"unknown flag {argv.split()[0].replace('batch-', 'batch.')}.*") as caught:
        read_train_command(argv.split(), tmp_path)
    assert re.search(hint, str(caught.value)), caught.value


def test_hints_name_flags_that_exist() -> None:
    for name, text in ELSEWHERE.items():
        assert f"--{name}" not in FLAGS
        assert set(re.findall(r"--[a-z_0-9]+", text)) <= FLAGS, name


def test_a_verification_is_not_sent_to_flags_of_training() -> None:
    known = {flag for option in VAL_TABLE for flag in option.flags}
    assert hint("--learning_rate", known) == "" and "--device_num_per_node" in hint("--gpus", known)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--network vitt", "unknown network 'vitt'; known: .*; did you mean 'vit_t'"),
        ("--loss arcfase", "unknown loss 'arcfase'; known: adacos, adaface, .*; did you mean 'arcface'"),
        ("--dataset emor", "unknown dataset 'emor'; known: emore, .*; did you mean 'emore'"),
    ],
)
def test_an_unknown_name_names_the_nearest(tmp_path: Path, argv: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_train_command(argv.split(), tmp_path)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    argv = "--lr -1 --momentum fast --no_such 3 --bn_mom 1 --seed --optimizer rms --lr_steps 1,x"
    with pytest.raises(UserError) as caught:
        read_train_command(argv.split(), tmp_path)
    assert str(caught.value).splitlines() == [
        "--momentum 'fast' is not a number",
        "unknown flag --no_such 3; --help lists the flags",
        "--seed needs a value",
        "--lr_steps '1,x' is not a comma-separated list of whole numbers",
        "--bn_mom 1.0 must be at least 0 and below 1",
        "--lr -1.0 must be at least 0",
        "--optimizer rms is unknown; known: sgd, adamw",
    ]
    done = subprocess.run(
        [sys.executable, str(ROOT / "insightface_train.py"), "--lr", "-1", "--num_workers", "-1"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: --num_workers -1 must be at least 0\nerror: --lr -1.0 must be at least 0\n"


def test_values_of_config_py_are_checked_by_the_same_rules(tmp_path: Path) -> None:
    text = (ROOT / "sample_config.py").read_text()
    (tmp_path / "config.py").write_text(f"{text}\ndefault.lr = -1.0\ndefault.momentum = 1.5\ndefault.ckpt = 9\n")
    with pytest.raises(UserError) as caught:
        read_train_command([], tmp_path)
    assert str(caught.value).splitlines() == [
        "--lr -1.0 must be at least 0",
        "--momentum 1.5 must be at least 0 and below 1",
        "--ckpt 9 is unknown; known: 0 (no snapshots), 1 (when better), 2 (all), 3 (the best)",
    ]


def flags_of(text: str) -> list[str]:
    return re.findall(r"^  (--[\w-]+)", text, re.MULTILINE)


def test_help_shows_each_flag_once() -> None:
    text = run("insightface_train.py", "--help")
    shown = flags_of(text)
    assert text.startswith("usage: insightface_train.py [--flag value ...]")
    sets = [f"--{name}_dataset_dir" for name in ("lfw", "cfp_fp", "agedb_30")]
    actions = ["--help", "--print_config", "--version"]
    assert sorted(shown) == sorted([*actions, *sets, *(f"--{option.key}" for option in TRAIN_TABLE)])


def test_help_may_be_cut() -> None:
    program = subprocess.Popen(
        [sys.executable, str(ROOT / "insightface_train.py"), "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    program.stdout.close()
    assert program.stderr.read() == b"" and program.wait(100) == 0


def test_help_of_a_verification_is_about_verification() -> None:
    text = run("insightface_val.py", "-h")
    assert sorted(flags_of(text)) == sorted(["--help", "--version", *(f"--{option.key}" for option in VAL_TABLE)])
    assert not {"--lr", "--num_classes", "--pretrained", "--train_iter"} & set(re.findall(r"--\w+", text))


@pytest.mark.parametrize(
    "argv",
    [
        "",
        "--network y1 --loss cosface --dataset orl --lr 0.3 --val_targets lfw,mine --mine_dataset_dir a/b",
        "--network vit_t --optimizer adamw --lr_steps 1,2,3 --ckpt 1 --clip_gradient 5e-05 --extra_model_name a'b",
        "--network d169 --loss triplet --partial_fc 0 --train_batch_size_per_device 30 --resume",
        "--dataset faces --dataset_dir here --num_classes 17 --network mbf --net_blocks 1,2,3,4",
        "--loss_type 4 --network r18 --margin_m 0.4 --use_deformable 0",
    ],
)
def test_printed_settings_are_a_config_py(
    tmp_path: Path, argv: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no verification set lies beside those of the command line
    expected = resolve_train_config(argv.split(), tmp_path)
    with pytest.raises(SystemExit) as ended:
        read_train_command([*argv.split(), "--print_config"], tmp_path)
    assert ended.value.code == 0
    (tmp_path / "config.py").write_text(capsys.readouterr().out)
    command = read_train_command([], tmp_path)
    assert dict(command.config) == dict(expected) and command.notices == ()
    with pytest.raises(SystemExit):
        read_train_command(["--print-config"], tmp_path)
    assert capsys.readouterr().out == (tmp_path / "config.py").read_text()


def test_versions_are_printed_without_loading_anything() -> None:
    code = (
        "import json, sys\nfrom settings.train_command import read_train_command\n"
        "try:\n    read_train_command(['--version'])\nexcept SystemExit:\n"
        "    print(json.dumps([name for name in ('oneflow', 'mxnet', 'onnx', 'onnxruntime') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    *lines, loaded = done.stdout.splitlines()
    assert json.loads(loaded) == [], done.stderr
    names = [line.split()[0] for line in lines]
    assert names == ["insightface_oneflow", "python", "oneflow", "numpy", "mxnet", "onnx", "onnxruntime"]
    assert all(re.search(r"\d+\.\d+|is not installed", line) for line in lines)
    assert run("insightface_val.py", "--version").splitlines() == lines


def test_a_dataset_of_the_command_line(tmp_path: Path) -> None:
    config = resolve_train_config(["--dataset", "mine", "--dataset_dir", "a/b", "--num_classes", "17"], tmp_path)
    assert (config.dataset, config.dataset_dir, config.num_classes) == ("mine", "a/b", 17)
    with pytest.raises(UserError, match="unknown dataset 'mine'; known: emore"):
        resolve_train_config(["--dataset", "mine", "--dataset_dir", "a/b"], tmp_path)
