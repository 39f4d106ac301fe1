from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from engine.preflight import check_run, starting_label_map
from ops.heads.class_shards import initial_class_rows
from settings.places import run_directory
from settings.train_command import resolve_train_config
from snapshots.label_map import read_label_map
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.observe import run, without_graphs
from tests.support.tiny import make_trainer, tiny_config, tiny_network, train


def write(folder: Path, text: str) -> Path:
    path = folder / "classes.txt"
    path.write_text(text)
    return path


def test_text_and_npy_say_the_same(tmp_path: Path) -> None:
    text = read_label_map(write(tmp_path, "# old new\n3 0\n\n7,2  # a remark\n1\t4\n"))
    np.save(tmp_path / "classes.npy", np.array([[3, 0], [7, 2], [1, 4]], np.int32))
    array = read_label_map(tmp_path / "classes.npy")
    for found in (text, array):
        assert (found.old.tolist(), found.new.tolist()) == ([3, 7, 1], [0, 2, 4])
        assert found.source_classes(0, 5).tolist() == [3, -1, 7, -1, 1]
        assert found.source_classes(2, 4).tolist() == [7, -1]
        found.check_sizes(8, 5)
        with pytest.raises(UserError, match="names old class 7, but the snapshot has 7 classes"):
            found.check_sizes(7, 5)
        with pytest.raises(UserError, match="names new class 4, but this run has 4 classes"):
            found.check_sizes(8, 4)


def test_the_text_may_be_saved_as_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("3 0 # Zoë\r\n7 2\r\n".encode("utf-16"))
    assert read_label_map(path).old.tolist() == [3, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n3\n", "classes.txt, line 2: '3' is not a pair of an old and a new class"),
        ("1 2 3\n", "line 1: '1 2 3' is not a pair"),
        ("1 two\n", "line 1: '1 two' is not a pair"),
        ("1 2\n\n1 3\n", "classes.txt, line 3 names old class 1 again, after line 1; each old class becomes one"),
        ("1 2\n2 2\n", "line 2 names new class 2 again, after line 1"),
        ("1 2\n-4 3\n", "line 2: old class -4 is negative"),
        (f"1 2\n3 {10**30}\n", "line 2: '3 10+' has a number of more than 64 bits"),
        ("1 2\n\0\n", "classes.txt: byte 4 .line 2. is 0x00"),
        ("# nothing\n", "names no classes; expected pairs"),
    ],
)
def test_a_wrong_text_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_label_map(write(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2)), r"holds float64 \[3, 2\], expected whole numbers \[N, 2\]"),
        (np.zeros(4, int), r"holds int64 \[4\], expected"),
        (np.array([[0, 1], [0, 2]]), "classes.npy, row 1 names old class 0 again, after row 0"),
        (np.array([object()]), "classes.npy cannot be read .*expected an .npy"),
    ],
)
def test_a_wrong_npy_is_one_clear_line(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "classes.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=message) as caught:
        read_label_map(tmp_path / "classes.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [10**18, 10**30])
def test_an_npy_that_claims_too_much_is_one_clear_line(tmp_path: Path, rows: int) -> None:
    with open(tmp_path / "classes.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (rows, 2)})
    with pytest.raises(UserError, match="classes.npy cannot be read .it claims more numbers") as caught:
        read_label_map(tmp_path / "classes.npy")
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_one_clear_line(tmp_path: Path) -> None:
    for name in ("classes.npy", "classes.txt"):
        with pytest.raises(UserError, match=rf"{name} cannot be read \(No such file or directory\)") as caught:
            read_label_map(tmp_path / name)
        assert str(caught.value).count(name) == 1


def newest(folder: Path) -> Snapshot:
    config = tiny_config(folder)
    return Snapshot.open(newest_snapshot(run_directory(config, config.models_root)))


@pytest.mark.parametrize(
    "changes",
    [{}, {"partial_fc": True, "sample_ratio": 0.5}, {"num_subcenters": 2}],
    ids=["full", "partial", "subcenters"],
)
def test_classes_change_places(tmp_path: Path, changes: dict[str, Any]) -> None:
    train(tiny_config(tmp_path, train_iter=3, save_last_snapshot=True, **changes), tiny_network())
    given = newest(tmp_path)
    pairs = {30: 0, 2: 17, 11: 16}
    path = write(tmp_path, "".join(f"{old} {new}\n" for old, new in pairs.items()))
    settings = {"num_classes": 18, "lr": 0.0, "train_iter": 4, "save_last_snapshot": True, **changes}
    config = tiny_config(tmp_path / "new", model_load_dir=str(given.path), label_map=str(path), **settings)
    trainer, source = make_trainer(config, tiny_network())
    shape = (18, trainer.train_step.head.centres, 16)
    momentum = trainer.train_step.optimizer.read_moments()["momentum"]["fc7_weight"].reshape(shape)
    trainer.run(source)
    before, after = given.head_rows(0, 31), newest(tmp_path / "new").head_rows(0, 18)
    first = initial_class_rows(1, 0, shape[0] * shape[1], 16).reshape(shape)
    sources = {new: old for old, new in pairs.items()}
    for new in range(18):
        row, moment = first[new], np.zeros(shape[1:])
        if new in sources:
            row, moment = (before[name][sources[new]] for name in ("fc7_weight", "fc7_weight_momentum"))
        np.testing.assert_array_equal(after["fc7_weight"][new].reshape(shape[1:]), row.reshape(shape[1:]))
        np.testing.assert_array_equal(momentum[new], moment.reshape(shape[1:]))

    # The run resumes from its own snapshot, which has its own classes.
    config.update(resume=True, train_iter=5)
    assert starting_label_map(config) is None
    with without_graphs():
        resumed = train(config, tiny_network())
    assert resumed.progress.step == 5
    np.testing.assert_array_equal(newest(tmp_path / "new").head_rows(0, 18)["fc7_weight"], after["fc7_weight"])


def resolve(folder: Path, flags: str) -> Any:
    quick = "--network y1 --loss arcface --dataset orl --use_synthetic_data 1 --total_img_num 93 --train_batch_size 8"
    places = f"--models_root {folder}/new --log_dir {folder}/log --save_last_snapshot 1 --num_workers 0"
    return resolve_train_config([*f"{quick} {places} {flags}".split()], folder)


def test_pretrained_with_a_map_takes_class_rows_and_starts_at_step_0(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, train_iter=3, save_last_snapshot=True), tiny_network(dropout=0.4, batch_norm=True))
    given = newest(tmp_path)
    path = write(tmp_path, "30 4\n")
    flags = f"--num_classes 7 --lr 0 --train_iter 1 --pretrained {given.path} --label_map {path} --optimizer adamw"
    ran = run(resolve(tmp_path, flags))
    found = Snapshot.open(newest_snapshot(run_directory(ran, ran.models_root)))
    assert found.about["step"] == 1 and found.optimizer["updates"] == 1
    rows = found.head_rows(0, 7)["fc7_weight"]
    np.testing.assert_array_equal(rows[4], given.head_rows(30, 31)["fc7_weight"][0])
    np.testing.assert_array_equal(rows[:4], initial_class_rows(1, 0, 4, 16))


def test_a_map_that_does_not_fit_is_seen_before_a_rank_starts(tmp_path: Path) -> None:
    full = tmp_path / "full"
    with without_graphs():
        train(tiny_config(tmp_path, train_iter=1, save_last_snapshot=True, ckpt_embedding=True), tiny_network())
        train(tiny_config(full, train_iter=1, save_last_snapshot=True), tiny_network())
    path = write(tmp_path, "31 4\n")
    backbone_only = resolve(tmp_path, f"--num_classes 7 --pretrained {newest(tmp_path).path} --label_map {path}")
    with pytest.raises(UserError, match="a snapshot without class rows: there are none for .*classes.txt"):
        check_run(backbone_only, 1)
    with pytest.raises(UserError, match="classes.txt names old class 31, but the snapshot has 31 classes"):
        check_run(resolve(tmp_path, f"--num_classes 7 --model_load_dir {newest(full).path} --label_map {path}"), 1)
    with pytest.raises(UserError, match="have length 16, those of this run 128; omit it, and they start anew"):
        check_run(
            resolve(tmp_path, f"--num_classes 7 --pretrained {newest(full).path} --label_map {write(tmp_path, '3 4')}"),
            1,
        )
    with pytest.raises(UserError, match="needs --model_load_dir or --pretrained"):
        resolve(tmp_path, f"--num_classes 7 --label_map {path}")
