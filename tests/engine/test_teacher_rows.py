"""The class rows of a teacher: where they come from, and the mistakes that are said before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from common.errors import UserError
from engine.capacity import plan_run
from engine.memory import estimate_memory
from engine.teacher_model import describe_teacher, open_teacher
from engine.teacher_rows import TeacherRows, find_teacher_rows
from interchange.mxnet.checkpoint import write_checkpoint
from interchange.open_model import TrainedModel
from settings.complete import complete_config
from settings.train_command import resolve_train_config
from snapshots.layout import AVERAGE
from tests.support.teachers import write_taught_classes, write_teacher
from tests.support.tiny import tiny_config, tiny_network, train


def find(folder: Path, **changes: Any) -> TeacherRows | None:
    config = tiny_config(folder, **{"teacher_logits": 1.0, **changes})
    return find_teacher_rows(config, open_teacher(config))


def message(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        find(folder, **changes)
    (line,) = str(caught.value).splitlines()
    return line


def test_rows_come_with_length_1(tmp_path: Path) -> None:
    name = write_taught_classes(tmp_path / "t", 31, 24)
    rows, out = find(tmp_path, teacher=name), np.zeros((9, 24), np.float32)
    rows.read_units(11, 20, out)
    given = np.random.default_rng(6).normal(0, 1, (31, 24)).astype(np.float32)[11:20]
    np.testing.assert_allclose(out, given / np.linalg.norm(given, axis=1, keepdims=True), rtol=1e-6)
    assert (rows.centres, rows.length) == (1, 24)
    assert find(tmp_path, teacher=name, teacher_logits=0.0) is None and find(tmp_path) is None


def test_rows_come_from_files_of_other_programs(tmp_path: Path) -> None:
    network = build_network(tiny_config(tmp_path, image_size=112))
    given = np.random.default_rng(2).normal(0, 1, (31, 16)).astype(np.float32)
    write_checkpoint(tmp_path / "t", 0, network, initial_arrays(network, 5), {"fc7_weight": given})
    rows, out = find(tmp_path, teacher=f"{tmp_path / 't'},0", image_size=112), np.zeros((31, 16), np.float32)
    rows.read_units(0, 31, out)
    np.testing.assert_allclose(out, given / np.linalg.norm(given, axis=1, keepdims=True), rtol=1e-6)
    plain = open_teacher(tiny_config(tmp_path, teacher=f"{tmp_path / 't'},0", image_size=112))
    assert not plain.head  # runs that do not ask for the rows do not keep them


@pytest.mark.parametrize("dtype", ["float32", "bf16"])
def test_rows_come_from_snapshots_of_any_kind(tmp_path: Path, dtype: str) -> None:
    config = tiny_config(tmp_path, train_iter=1, save_last_snapshot=True, num_subcenters=2, fc7_dtype=dtype)
    head = train(config, tiny_network()).train_step.head
    (path,) = (tmp_path / "models").glob("*/snapshot_1")
    model = TrainedModel(str(path), tiny_network(), {}, {"dataset": config.dataset})
    now = tiny_config(tmp_path, teacher=str(path), teacher_logits=1.0, use_synthetic_data=False)
    rows, out = find_teacher_rows(now, model), np.zeros((2 * 4, 16), np.float32)
    rows.read_units(5, 9, out)
    own = head.read_centres(np.arange(10, 18))
    np.testing.assert_allclose(out, own / np.linalg.norm(own, axis=1, keepdims=True), rtol=1e-6)
    assert (rows.centres, rows.length) == (2, 16)
    other = TrainedModel(str(path), tiny_network(), {}, {"dataset": "strangers"})
    with pytest.raises(UserError, match=r"of the people of 'strangers', and this run's are those of 'orl'; use a teac"):
        find_teacher_rows(now, other)


def test_mistakes_are_one_line_before_the_run(tmp_path: Path) -> None:
    without = write_teacher(tmp_path / "t.onnx")
    said = message(tmp_path, teacher=without)
    assert said.startswith(f"--teacher_logits needs a teacher with class rows, and --teacher {without} has none")
    fewer = write_taught_classes(tmp_path / "fewer", 30)
    assert "has rows of 30 classes, and this run has 31; use a teacher that was" in message(tmp_path, teacher=fewer)
    biased = write_taught_classes(tmp_path / "biased", 31, fc7_bias=np.zeros(31, np.float32))
    assert "was trained by a plain softmax, whose rows have biases; use" in message(tmp_path, teacher=biased)
    zero = np.ones((31, 16), np.float32)
    zero[7] = 0
    broken = write_taught_classes(tmp_path / "broken", 31, fc7_weight=zero)
    with pytest.raises(UserError, match="the teacher's row of class 7 is zero or not finite; omit --teacher_logits"):
        find(tmp_path, teacher=broken).read_units(0, 31, np.zeros((31, 16), np.float32))


def test_a_backbone_only_snapshot_has_no_rows(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=1, save_last_snapshot=True, ema_decay=0.5)
    train(config, tiny_network())
    (path,) = (tmp_path / "models").glob(f"*/snapshot_1/{AVERAGE}")
    now = tiny_config(tmp_path, teacher=str(path), teacher_logits=1.0)
    with pytest.raises(UserError, match="is a backbone-only snapshot; use a full snapshot, or omit --teacher_logits"):
        find_teacher_rows(now, TrainedModel(str(path), tiny_network(), {}, {}))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--loss arcface --teacher_logits 1", "--teacher_logits 1.0 needs --teacher"),
        ("--loss arcface --teacher t --teacher_weight 0", "learn nothing from --teacher; give one of them"),
        ("--loss arcface --teacher t --teacher_temperature 2", "--teacher_temperature 2 is about --teacher_logits"),
        ("--loss softmax --teacher t --teacher_logits 1", "--loss softmax multiplies embeddings of any length"),
        ("--loss triplet --teacher t --teacher_logits 1", "is about class centres, and --loss triplet has none"),
        ("--loss arcface --teacher t --teacher_logits -1", "--teacher_logits"),
        ("--loss arcface --teacher t --teacher_logits 1 --teacher_temperature 0", "--teacher_temperature"),
    ],
)
def test_settings_that_contradict_each_other(flags: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        words = f"--use_synthetic_data 1 --num_classes 30 --network y1 {flags}"
        complete_config(resolve_train_config(words.split()), 1, "cpu")
    assert said in str(caught.value)


def test_the_announcement_names_what_the_loss_adds(tmp_path: Path) -> None:
    own = {"teacher_logits": 2.0, "teacher_temperature": 4.0, "teacher_weight": 0.0}
    config = tiny_config(tmp_path, teacher=write_taught_classes(tmp_path / "t"), **own)
    line = describe_teacher(open_teacher(config), config, tiny_network())[0]
    assert line.endswith("the loss adds 2 x the divergence from its softmax over the classes at temperature 4")


def test_memory_and_plan_include_the_rows_of_the_teacher(tmp_path: Path) -> None:
    words = "--use_synthetic_data 1 --num_classes 50000 --network y1 --loss arcface --train_batch_size 12"
    classes = ["--teacher", write_taught_classes(tmp_path / "t", 50_000, 24), "--teacher_logits", "1"]
    config = complete_config(
        resolve_train_config([*words.split(), "--image_size", "16", "--net_output", "FC", *classes]), 2, "cpu"
    )
    network, model = build_network(config), open_teacher(config)
    taught = find_teacher_rows(config, model)
    without = estimate_memory(config, network, 2, model.network)
    with_rows = estimate_memory(config, network, 2, model.network, taught)
    added = with_rows.rank - without.rank
    assert added == with_rows.teacher - without.teacher > 25_000 * (24 + 5 * 12) * 4
    plan = plan_run(config, network, 2, 10**10)
    assert plan.estimate == with_rows and plan.wire.embeddings > 2 * 0.5 * 12 * config.emb_size * 4
