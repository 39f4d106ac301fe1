from __future__ import annotations

import pytest

from benchmarks import bench_backbone, bench_step
from common.errors import UserError


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--networks", "y9"], "unknown network 'y9'; known: .*r100, "),
        (["--passes", "backward"], "--passes: unknown name 'backward'; known: forward, train"),
        (["--peers", "torch,caffe"], "--peers: unknown name 'caffe'; known: torch, torch_bf16, .*openvino"),
        (["--ours", "int8"], "--ours: unknown name 'int8'; known: f32, bf16, stock"),
        (["--rounds", "0"], "--rounds: invalid positive whole number value: '0'"),
        (["--seconds", "-1"], "--seconds: invalid positive number value: '-1'"),
        (["--limit", "2"], "--limit: invalid choice: 2"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_mistakes_of_bench_backbone_are_one_line(monkeypatch, flags, message):
    monkeypatch.setattr("sys.argv", ["bench_backbone.py", *flags])
    with pytest.raises(UserError, match=message.replace("(", r"\(")) as error:
        bench_backbone.parse_arguments()
    assert "\n" not in str(error.value)


def test_contestants_are_those_asked_for(monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["x", "--ours", "f32", "--peers", "onnxruntime,torch,torch_compile", "--limit", "0"]
    )
    chosen = bench_backbone.parse_arguments().contestants
    assert [(c.name, c.about) for c in chosen] == [
        ("f32", "float32, native"),
        ("torch", "float32, default"),
        ("torch", "float32, channels_last"),
        ("torch_compile", "float32, channels_last"),
        ("onnxruntime", "float32"),
    ]


def test_no_contestant_of_ours_needs_a_peer(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--peers", ""])
    assert {c.name for c in bench_backbone.parse_arguments().contestants} == {"f32", "bf16", "stock", "limit"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--network", "y9"], "unknown network 'y9'"),
        (["--steps", "none"], "--steps: invalid positive whole number value: 'none'"),
        (["--stepps", "3"], "unknown flag --stepps 3"),
    ],
)
def test_mistakes_of_bench_step_are_one_line(flags, message):
    with pytest.raises(UserError, match=message):
        bench_step.parse_arguments(flags)


def test_other_flags_of_bench_step_reach_the_training():
    args, config = bench_step.parse_arguments(["--network", "y1", "--batch", "6", "--model_parallel", "0", "--lr", "1"])
    assert (config.network, config.train_batch_size, config.model_parallel, config.lr) == ("y1", 6, False, 1.0)
    assert (config.num_classes, config.use_synthetic_data, args.steps) == (85742, True, 10)


def test_the_head_is_what_the_graph_takes_beyond_the_backbone():
    seconds = {"next batch": 0.1, "graph call": 1.5, "backbone": 1.0, "update": 0.4, "whole step": 2.0}
    rows = {row[0].strip(): row[1:] for row in bench_step.make_rows(seconds, batch=16)}
    assert rows["head and loss"] == ["500.0", "25.0%", ""]
    assert rows["whole step"] == ["2000.0", "100.0%", "8.00"]
