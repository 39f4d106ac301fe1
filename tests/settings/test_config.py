from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from launch.options import LaunchOptions
from launch.rank import SETTINGS_VARIABLE
from settings.complete import complete_config
from settings.config import Config
from settings.places import run_directory
from settings.train_command import resolve_train_config
from settings.verify_command import read_verify_command
from snapshots.reader import newest_snapshot

ROOT = Path(__file__).resolve().parents[2]


def test_items_and_attributes_are_the_same() -> None:
    config = Config({"lr": 0.1, "lr_steps": [1, 2]})
    assert config.lr == config["lr"] == 0.1
    assert dict(config) == {"lr": 0.1, "lr_steps": [1, 2]} == {**config}
    assert len(config) == 2 and "lr" in config and "momentum" not in config
    with pytest.raises(AttributeError, match="no setting 'momentum'"):
        _ = config.momentum


def test_nothing_assigns_to_it() -> None:
    given = {"lr": 0.1}
    config = Config(given)
    with pytest.raises(AttributeError, match="config.replaced"):
        config.lr = 0.2
    with pytest.raises(TypeError):
        config["lr"] = 0.2  # type: ignore[index]
    with pytest.raises(AttributeError):
        del config.lr
    given["lr"] = 0.3
    assert config.lr == 0.1
    other = config.replaced(lr=0.2, momentum=0.9)
    assert dict(other) == {"lr": 0.2, "momentum": 0.9} and dict(config) == {"lr": 0.1}


def test_it_survives_json_copies_and_pickles(tmp_path: Path) -> None:
    config = complete_config(resolve_train_config(["--network", "y1", "--lr", "0.1234567890123"], tmp_path), 2, "cpu")
    assert Config(json.loads(json.dumps(dict(config)))) == config
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config


def test_completing_changes_nothing_that_was_given(tmp_path: Path) -> None:
    config = resolve_train_config(["--network", "y1", "--use_synthetic_data", "1", "--total_img_num", "9"], tmp_path)
    before = json.dumps(dict(config))
    completed = complete_config(config, 2, "cpu")
    assert json.dumps(dict(config)) == before
    assert completed.train_batch_size == 128 and not completed.do_validation_while_train


def test_launch_options(tmp_path: Path) -> None:
    argv = ["--num_nodes", "2", "--node_rank", "1", "--node_ips", "a,b", "--master_port", "99", "--rank_timeout", "7"]
    assert LaunchOptions.from_config(resolve_train_config(argv, tmp_path)) == LaunchOptions(2, 1, ("a", "b"), 99, 7)


def run_as_handed(program: str, config: Config, argv: list[str]) -> subprocess.CompletedProcess:
    """Run a rank with settings as a supervisor hands them on."""
    descriptor = os.memfd_create("settings")
    os.write(descriptor, json.dumps(dict(config)).encode())
    environment = {**os.environ, SETTINGS_VARIABLE: str(descriptor)}
    command = [sys.executable, str(ROOT / program), *argv]
    try:
        return subprocess.run(
            command, env=environment, pass_fds=[descriptor], capture_output=True, text=True, timeout=200
        )
    finally:
        os.close(descriptor)


def test_a_rank_takes_what_it_is_handed_and_reads_neither_flags_nor_files(tmp_path: Path) -> None:
    """So a config.py that is edited while ranks start no longer matters."""
    flags = (
        "--network y1 --loss softmax --dataset orl --net_blocks 1,1,1,1 --num_classes 5 --device cpu --num_workers 0 "
        "--use_synthetic_data 1 --total_img_num 8 --train_batch_size 2 --train_iter 1 --save_last_snapshot 1 "
        f"--models_root {tmp_path}/models --log_dir {tmp_path}/log --lr 0.0625 --loss_print_frequency 1"
    )
    config = complete_config(resolve_train_config(flags.split(), tmp_path), 1, "cpu")
    done = run_as_handed("insightface_train.py", config, ["--no_such_flag", "--lr", "9"])
    assert done.returncode == 0, done.stderr
    snapshot = newest_snapshot(run_directory(config, config.models_root))
    assert json.loads((snapshot / "snapshot.json").read_text())["config"] == dict(config)

    verification = read_verify_command(["--model_load_dir", str(snapshot)], tmp_path).config
    verification = verification.replaced(device="cpu", val_targets=["lfw"], val_dataset_dir=str(tmp_path / "handed"))
    done = run_as_handed("insightface_val.py", verification, ["--no_such_flag"])
    assert done.returncode == 1 and str(tmp_path / "handed" / "lfw") in done.stderr


def test_every_rank_of_a_supervisor_gets_the_settings(tmp_path: Path) -> None:
    script = (
        "import json, os; from pathlib import Path; from launch.rank import inherited_settings; "
        f"Path({str(tmp_path)!r}, os.environ['RANK']).write_text(json.dumps([inherited_settings(), "
        "inherited_settings()]))"
    )
    code = (
        "import sys; from pathlib import Path; from launch.supervisor import Supervisor; "
        "config = {'num_nodes': 1, 'node_rank': 0, 'node_ips': ['127.0.0.1'], 'master_port': 0, 'rank_timeout': 60}; "
        f"sys.exit(Supervisor({{**config, 'lr': 0.1, 'names': 200000 * 'x'}}, 3, Path({str(tmp_path / 'log')!r})).run("
        f"[sys.executable, '-c', {script!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    for rank in range(3):
        first, second = json.loads((tmp_path / str(rank)).read_text())
        assert first["lr"] == 0.1 and first["names"] == 200000 * "x" and second is None
