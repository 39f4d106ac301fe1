"""--dataset_dir alone: classes, size, name and verification sets come from the data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import sample_config
from common.errors import UserError
from data.conversion.convert import convert_bin, convert_recordio
from data.image import encode_jpeg
from data.recordio.writer import write_insightface_recordio
from data.verification.bin_file import write_bin
from settings.train_command import TrainCommand, read_train_command

SIZE, PEOPLE = 32, 4


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset's folder "kids": train.rec, parts in ofrecord/train, pairs.bin, and the same pairs as parts."""
    folder = tmp_path_factory.mktemp("template") / "kids"
    rng = np.random.default_rng(1)
    images = [encode_jpeg(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)) for _ in range(3 * PEOPLE)]
    write_insightface_recordio(folder, [(image, i // 3) for i, image in enumerate(images)], PEOPLE, SIZE)
    convert_recordio(folder, folder / "ofrecord" / "train", 2)
    write_bin(folder / "pairs.bin", images[:4], [True, False])
    convert_bin(folder / "pairs.bin", folder / "ofrecord" / "of_pairs")
    (folder / "weights.bin").write_bytes(b"not a pickle")
    return folder


@pytest.fixture
def kids(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "sets" / "kids")


def read(flags: str, folder: Path) -> TrainCommand:
    return read_train_command(["--network", "r18", *flags.split()], folder)


def test_one_flag_is_enough(kids: Path, tmp_path: Path) -> None:
    command = read(f"--dataset_dir {kids}", tmp_path)
    config = command.config
    assert (config.dataset, config.num_classes, config.image_size, config.total_img_num) == ("kids", PEOPLE, SIZE, 12)
    assert (config.val_targets, config.val_dataset_dir) == (["pairs"], str(kids))
    assert config.train_iter == sample_config.default.train_iter  # not that of a known dataset
    assert command.notices == (
        f"own set kids: 12 images of 4 people in {kids}/train.rec, 32x32 pixels",
        f"verified on pairs, found in {kids}",
        "the default length, made for millions of images, is some 909792 epochs of these; --end_epoch or --train_iter "
        "says how long to train, --lr_steps when the learning rate falls",
    )


def test_parts_and_a_file(kids: Path, tmp_path: Path) -> None:
    of_parts = read(f"--dataset_dir {kids}/ofrecord/train", tmp_path).config
    assert (of_parts.dataset, of_parts.val_targets) == ("kids", ["of_pairs"])
    assert of_parts.val_dataset_dir == str(kids / "ofrecord")
    of_file = read(f"--dataset_dir {kids}/train.rec", tmp_path).config
    assert {**of_file, "dataset_dir": ""} == {**read(f"--dataset_dir {kids}", tmp_path).config, "dataset_dir": ""}
    (kids / "train.rec").unlink()
    within = read(f"--dataset_dir {kids}", tmp_path)
    assert within.config.val_targets == ["of_pairs"] and f"in {kids}/ofrecord/train" in within.notices[0]


def test_flags_win(kids: Path, tmp_path: Path) -> None:
    flags = f"--dataset_dir {kids} --name mine --num_classes 9 --image_size 112 --val_targets pairs --train_iter 7"
    command = read(flags, tmp_path)
    config = command.config
    assert (config.dataset, config.num_classes, config.image_size, config.train_iter) == ("mine", 9, 112, 7)
    assert (config.val_targets, config.val_dataset_dir) == (["pairs"], str(kids)) and len(command.notices) == 1
    config = read(f"--dataset_dir {kids} --val_targets a,b --val_dataset_dir there", tmp_path).config
    assert (config.val_targets, config.val_dataset_dir) == (["a", "b"], "there")
    config = read(f"--dataset_dir {kids} --ours_dataset_dir there", tmp_path).config
    assert (config.val_targets, config.ours_dataset_dir) == (["pairs", "ours"], "there")


def test_usual_verification_sets_come_first(kids: Path, tmp_path: Path) -> None:
    for name in ("agedb_30", "calfw", "lfw"):
        shutil.copy(kids / "pairs.bin", kids / f"{name}.bin")
    command = read(f"--dataset_dir {kids}", tmp_path)
    assert command.config.val_targets == ["lfw", "agedb_30"]
    assert command.notices[1] == (
        f"verified on lfw, agedb_30, found in {kids}; there too: calfw, pairs (--val_targets chooses)"
    )
    assert len(read(f"--dataset_dir {kids} --do_validation_while_train 0 --end_epoch 9", tmp_path).notices) == 1


def test_parts_of_other_programs_are_told_apart_by_their_records(kids: Path, tmp_path: Path) -> None:
    for info in kids.rglob("dataset.json"):
        info.unlink()
    command = read(f"--dataset_dir {kids}/ofrecord/train", tmp_path)
    assert (command.config.val_targets, command.config.num_classes) == (["of_pairs"], PEOPLE)


def test_without_verification_sets(kids: Path, tmp_path: Path) -> None:
    (kids / "pairs.bin").unlink()
    shutil.rmtree(kids / "ofrecord")
    command = read(f"--dataset_dir {kids}", tmp_path)
    assert command.config.val_targets == []
    assert command.notices[1].startswith(f"no verification set (NAME.bin or parts) in {kids}, {kids}/ofrecord: ")


@pytest.mark.parametrize(
    ("place", "name"),
    [("Kids 2/train.rec", "Kids 2"), ("kids/recordio", "kids"), ("kids/train/../ofrecord/train", "kids")],
)
def test_the_name_is_that_of_the_folder(template: Path, tmp_path: Path, place: str, name: str) -> None:
    (tmp_path / "kids" / "train").mkdir(parents=True)
    target = tmp_path / place
    shutil.copytree(template, target.parent if target.suffix else target, dirs_exist_ok=True)
    assert read_train_command(["--dataset_dir", str(target)], tmp_path).config.dataset == name


def test_a_known_dataset_elsewhere_takes_its_classes_from_the_data(kids: Path, tmp_path: Path) -> None:
    command = read(f"--dataset emore --dataset_dir {kids}", tmp_path)
    assert (command.config.dataset, command.config.num_classes) == ("emore", PEOPLE)
    assert command.config.train_iter == sample_config.dataset.emore.train_iter
    assert command.notices[0].startswith("--dataset emore has 85742 classes, but ")
    given = read(f"--dataset emore --dataset_dir {kids} --num_classes 85742", tmp_path)
    assert given.config.num_classes == 85742 and given.notices == ()
    absent = read("--dataset emore --dataset_dir nowhere", tmp_path)  # said when the images are opened
    assert absent.config.num_classes == 85742 and absent.notices == ()


def test_older_names_of_the_folder_keep_their_meaning(kids: Path, tmp_path: Path) -> None:
    command = read(f"--train_data_dir {kids} --class_num 9", tmp_path)
    assert (command.config.dataset, command.config.num_classes) == ("emore", 9)
    assert command.translation.endswith("--dataset emore")
    assert read_train_command(command.translation.split(), tmp_path).config == command.config
    assert read(f"--data_dir {kids}", tmp_path).config.dataset_dir == f"{kids}/ofrecord/train"
    shutil.rmtree(kids / "ofrecord")
    command = read(f"--data_dir {kids} --loss_type 4", tmp_path)
    assert (command.config.dataset_dir, command.config.dataset, command.config.num_classes) == (str(kids), "kids", 4)


def test_a_config_py_that_chooses_a_dataset_keeps_it(kids: Path, tmp_path: Path) -> None:
    text = Path(sample_config.__file__).read_text()
    (tmp_path / "config.py").write_text(text)
    assert read(f"--dataset_dir {kids}", tmp_path).config.dataset == "kids"
    (tmp_path / "config.py").write_text(f"{text}\ndefault.dataset = 'orl'\n")
    config = read(f"--dataset_dir {kids}", tmp_path).config
    assert (config.dataset, config.num_classes, config.train_iter) == ("orl", PEOPLE, 100)


def test_printed_settings_of_an_own_set(
    kids: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = f"--dataset_dir {kids} --name mine --lr 0.5"
    expected = read(flags, tmp_path).config
    with pytest.raises(SystemExit):
        read(f"{flags} --print_config", tmp_path)
    (tmp_path / "config.py").write_text(capsys.readouterr().out)
    monkeypatch.setattr("data.sources.training_set.read_facts", lambda *_: pytest.fail("everything is in config.py"))
    command = read_train_command([], tmp_path)
    assert dict(command.config) == dict(expected) and command.notices == ()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--dataset_dir {kids} --lr fast --bogus 1", "--lr 'fast' is not a number\nunknown flag --bogus 1"),
        ("--dataset_dir {kids} --num_classes many", "--num_classes 'many' is not a whole number"),
        ("--dataset_dir {kids} --name a/b", "--name 'a/b' becomes part of folder names"),
        ("--dataset_dir {kids} --name a\x07b", r"--name 'a\\x07b' becomes part of folder names"),
        (f"--dataset_dir {{kids}} --name {'x' * 101}", "or have more than 100 bytes"),
        ("--dataset emore --name mine", "--name mine names a set of your own: give its folder with --dataset_dir"),
        ("--dataset mine --dataset_dir {kids}", "unknown dataset 'mine'; known: emore, .*without --dataset"),
        ("--dataset_dir nowhere", "looked for OFRecord parts .* in nowhere, which does not exist; name another"),
    ],
)
def test_mistakes(template: Path, tmp_path: Path, flags: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes in flags are found before the images are looked at."""
    if "nowhere" not in flags:
        monkeypatch.setattr("data.sources.training_set.read_facts", lambda *_: pytest.fail("the images were looked at"))
    with pytest.raises(UserError, match=message):
        read(flags.format(kids=template), tmp_path)
