"""What the log of a run says: settings, what was loaded from where, what has changed, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from easydict import EasyDict

from engine.preflight import describe_missing_snapshot
from settings.places import run_directory
from snapshots.reader import newest_snapshot
from tests.support.observe import run, without_graphs
from tests.support.tiny import read_metrics, tiny_config, tiny_network, train


@pytest.fixture
def no_graphs() -> Iterator[None]:
    """Steps that compute nothing: enough for lines that do not speak of losses."""
    with without_graphs():
        yield


def log_lines(config: EasyDict) -> list[str]:
    """Return the lines of train.log without their times."""
    text = (run_directory(config, config.log_dir) / "train.log").read_text()
    return [line.split(" ", 2)[2] for line in text.splitlines()]


def newest(config: EasyDict) -> Path:
    return newest_snapshot(run_directory(config, config.models_root))


@pytest.mark.usefixtures("no_graphs")
def test_the_log_begins_with_settings_flops_memory_images_and_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(tmp_path, train_iter=2)
    run(config)
    lines = log_lines(config)
    starts = [
        "Called with argument: {'",
        "Network FLOPs: ",
        "memory of a rank, estimated: fc7 ",
        "93 images of 31 classes",
    ]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=False)] == starts
    assert "'lr': 0.02," in lines[0]
    assert lines[3] == "93 images of 31 classes, 12 steps an epoch, 2 steps in all on 1 rank(s)"
    assert lines[4].startswith("fc7: placement cpu x 1 ranks")
    assert "Called with argument" not in capsys.readouterr().out  # the launching process prints it


def test_metrics_have_memory_and_the_norm_of_the_gradient(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=4, loss_print_frequency=2)
    train(config, tiny_network())
    for line in read_metrics(config):
        assert 0.01 < line["memory_gb"] < 100 and line["gradient_norm"] > 0
    assert {"lr", "images_per_second", "data_wait"} < read_metrics(config)[0].keys()


def test_measuring_the_norm_changes_nothing(tmp_path: Path) -> None:
    losses = []
    for frequency in (1, 3):
        config = tiny_config(tmp_path / str(frequency), train_iter=6, loss_print_frequency=frequency)
        train(config, tiny_network())
        losses.append([line["loss"] for line in read_metrics(config)])
    assert losses[1] == pytest.approx([sum(losses[0][:3]) / 3, sum(losses[0][3:]) / 3], rel=1e-12)


@pytest.mark.usefixtures("no_graphs")
def test_a_resumed_run_says_what_it_takes_over_and_what_has_changed(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, train_iter=2, save_last_snapshot=True), tiny_network())
    config = tiny_config(
        tmp_path, train_iter=3, lr=0.01, lr_steps=[2], scales=[0.1], resume=True, save_last_snapshot=True
    )
    path = newest(config)
    train(config, tiny_network())
    told = [line for line in log_lines(config) if line.startswith(("resumed", "changed"))]
    assert told == [
        f"resumed from {path} at step 2: 5 arrays of the backbone, 5 of momentum; rows of 31 classes with momentum",
        "changed since the snapshot: lr 0.02 -> 0.01",
        "changed since the snapshot: lr_steps [] -> [2]",
        "changed since the snapshot: scales [] -> [0.1]",
        "changed since the snapshot: train_iter 2 -> 3",
    ]


@pytest.mark.usefixtures("no_graphs")
def test_new_classes_are_counted(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=1, save_last_snapshot=True, optimizer="adamw")
    train(config, tiny_network())
    more = {"num_classes": 37, "train_iter": 2, "optimizer": "adamw", "model_load_dir": str(newest(config))}
    other = tiny_config(tmp_path / "more", **more)
    train(other, tiny_network())
    (line,) = [line for line in log_lines(other) if line.startswith("resumed")]
    assert line.endswith(
        ": 5 arrays of the backbone, 5 of momentum, 5 of variance; rows of 31 classes with momentum and variance; "
        "6 classes are new: they start from their initial rows"
    )


@pytest.mark.usefixtures("no_graphs")
def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, train_iter=2, save_last_snapshot=True), tiny_network())
    config = tiny_config(tmp_path, train_iter=2, save_last_snapshot=True, resume=True)
    before = read_metrics(config)
    trainer = train(config, tiny_network())
    assert trainer.progress.step == 2 and read_metrics(config) == before
    expected = "nothing left to do: the run is at step 2 and ends at step 2; to train longer, raise --train_iter"
    assert log_lines(config)[-1].startswith(expected)


@pytest.mark.usefixtures("no_graphs")
def test_resume_without_a_snapshot_says_where_it_looked(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=1, save_last_snapshot=True)
    root = run_directory(config, config.models_root)
    assert describe_missing_snapshot(config) == []
    missing = f"--resume 1: there is no snapshot_* in {root}"
    assert describe_missing_snapshot({**config, "resume": True}) == [f"{missing}; starting a new run"]
    given = {**config, "resume": True, "model_load_dir": "given/snapshot_5"}
    assert describe_missing_snapshot(given) == [f"{missing}; starting from given/snapshot_5"]
    train(config, tiny_network())
    assert describe_missing_snapshot({**config, "resume": True}) == []


@pytest.mark.usefixtures("no_graphs")
def test_a_run_with_resume_and_no_snapshot_logs_it(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=1, resume=True)
    run(config)
    assert f"--resume 1: there is no snapshot_* in {run_directory(config, config.models_root)}; starting a new run" in (
        log_lines(config)
    )


@pytest.mark.usefixtures("no_graphs")
@pytest.mark.parametrize("mapped", [False, True])
def test_pretrained_says_what_comes_along(tmp_path: Path, mapped: bool) -> None:
    config = tiny_config(tmp_path, train_iter=1, save_last_snapshot=True)
    run(config)
    changes = {"pretrained": str(newest(config))}
    rows = "class rows start from initial values"
    if mapped:
        changes["label_map"] = str(tmp_path / "map.txt")
        Path(changes["label_map"]).write_text("3 0\n4 1\n")
        rows = f"rows of 2 classes by {changes['label_map']}; 29 classes are new: they start from their initial rows"
    other = tiny_config(tmp_path / "other", train_iter=1, **changes)
    run(other)
    expected = f"pretrained from {changes['pretrained']}: 9 arrays of the backbone; {rows}"
    assert expected in log_lines(other)


@pytest.mark.usefixtures("no_graphs")
def test_pretrained_for_a_loss_without_class_rows_says_so(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=1, save_last_snapshot=True)
    run(config)
    pretrained = str(newest(config))
    other = tiny_config(tmp_path / "other", "triplet", train_batch_size=12, train_iter=1, pretrained=pretrained)
    run(other)
    expected = f"pretrained from {pretrained}: 9 arrays of the backbone; this loss has no class rows"
    assert expected in log_lines(other)
