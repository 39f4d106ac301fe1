"""Opening a teacher, the mistakes that are said before a run, and the file of its embeddings."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones import build_network
from common.errors import UserError
from data.sources.synthetic import SyntheticSource
from engine.memory import estimate_memory
from engine.teacher import Teacher
from engine.teacher_cache import fingerprint
from engine.teacher_model import describe_teacher, open_teacher
from interchange.open_model import TrainedModel, open_model
from launch.rank import RankReporter
from launch.world import join_world
from ops import flow
from ops.heads.distillation import teacher_distance
from settings.complete import complete_config
from settings.train_command import resolve_train_config
from tests.support.teachers import distance, embed, write_teacher
from tests.support.tiny import read_losses, read_metrics, tiny_config, tiny_network, train

OWN = 12


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        self.lines += lines


def settings(folder: Path, **changes: Any) -> Any:
    return tiny_config(folder, **{"train_batch_size": OWN, "teacher_cache": True, **changes})


def fill(config: Any, reporter: RankReporter | None = None) -> tuple[Teacher, bool, list[str], SyntheticSource]:
    """Return a teacher with its cache open, whether that is complete, what was said, and the images."""
    log, source = Log(), SyntheticSource(config.total_img_num, config.num_classes, config.image_size, config.seed)
    teacher = Teacher(open_teacher(config), config, join_world("cpu"))
    is_complete = teacher.open_cache(config, source, log, reporter or RankReporter())
    return teacher, is_complete, log.lines, source


def rows_of(teacher: Teacher, count: int) -> np.ndarray:
    return teacher._cache.read(np.arange(count))


@pytest.mark.parametrize("length", [6, 9])
def test_distance_and_gradient_equal_float64(length: int) -> None:
    random = np.random.default_rng(3)
    student, teacher = random.normal(0, 2, (5, 6)).astype("f4"), random.normal(0, 3, (5, length)).astype("f4")
    tensor = flow.tensor(student, requires_grad=True)
    found = teacher_distance(tensor, flow.tensor(teacher))
    found.backward()
    value, gradient = distance(student, teacher)
    assert float(found.numpy()) == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=0, atol=1e-5 * np.abs(gradient).max())
    nudged = student.astype(np.float64)
    nudged[1, 2] += 1e-6
    assert (distance(nudged, teacher)[0] - value) / 1e-6 == pytest.approx(gradient[1, 2], rel=1e-4)


def test_the_file_has_the_rows_of_unchanged_images_and_survives_stops_and_damage(tmp_path: Path) -> None:
    config, reporter = settings(tmp_path, teacher=write_teacher(tmp_path / "t.onnx", 24)), RankReporter()
    reporter.stop_requested = True
    teacher, is_complete, lines, source = fill(config, reporter)
    path, model = teacher._cache.path, open_model(config.teacher)
    assert not is_complete and lines == [f"teacher: embedding 93 images, once, for {path} of 0.00 GB", lines[1]]
    teacher, is_complete, lines, _ = fill(config)
    assert is_complete and lines[0] == f"teacher: {OWN} of 93 embeddings are in {path}"
    images = np.stack([source.read(number)[0] for number in range(93)])
    expected = embed(model.network, model.arrays, images)
    np.testing.assert_allclose(rows_of(teacher, 93), expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    before = path.read_bytes()
    again, _, lines, _ = fill(config)
    assert lines == [f"teacher: 93 of 93 embeddings are in {path}"] and path.read_bytes() == before
    assert again._embed is None
    size = len(before) // 93
    flipped = bytearray(before)
    flipped[41 * size + 5] ^= 4
    of_another_image = before[: 41 * size] + before[:size] + before[42 * size :]
    for broken in (before[: 41 * size + 5], flipped, of_another_image):
        path.write_bytes(broken)
        if broken is flipped:
            with pytest.raises(UserError, match=f"{path.name}: the embedding of image 41 is damaged; start the run ag"):
                again._cache.read(np.array([40, 41]))
        _, is_complete, lines, _ = fill(config)
        assert is_complete and lines[0] == f"teacher: 41 of 93 embeddings are in {path}"
        assert path.read_bytes() == before

    path.write_bytes(b"")
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another run is writing these embeddings; wait for it, or use another"):
            fill(config)


def test_other_images_teachers_and_number_formats_have_other_files(tmp_path: Path) -> None:
    model = open_model(write_teacher(tmp_path / "t.onnx"))
    moved = replace(model, arrays={name: array + 1e-6 for name, array in model.arrays.items()})

    def mark(teacher: TrainedModel = model, how: str = "float32", **changes: Any) -> bytes:
        source = SyntheticSource(**{"num_images": 93, "num_classes": 31, "image_size": 16, "seed": 1, **changes})
        return fingerprint(teacher, source, how)

    others = [mark(moved), mark(how="bfloat16"), mark(seed=2), mark(num_classes=3), mark(num_images=92)]
    assert len({mark(), *others}) == 6 and mark(replace(model, path="elsewhere")) == mark()


def test_the_cache_is_the_same_training_without_augmentation_and_frozen_steps_have_no_teacher(tmp_path: Path) -> None:
    common = {"teacher": write_teacher(tmp_path / "t.onnx"), "data_rand_mirror": False, "train_iter": 3}
    live, cached, frozen = (
        settings(tmp_path / name, **common, **own)
        for name, own in {
            "live": {"teacher_cache": False},
            "cached": {},
            "frozen": {"freeze_backbone_steps": 2},
        }.items()
    )
    for config in (live, cached, frozen):
        train(config, tiny_network())
    assert read_losses(live) == read_losses(cached)
    assert [line["loss"] > line["lossvalue"] + 0.1 for line in read_metrics(frozen)] == [False, False, True]


def test_mistakes_are_one_line_before_the_run(tmp_path: Path) -> None:
    def message(**changes: Any) -> str:
        with pytest.raises(UserError) as caught:
            open_teacher(tiny_config(tmp_path, **changes))
        (line,) = str(caught.value).splitlines()
        return line

    assert "--teacher: the model nowhere does not exist; give a snapshot's folder" in message(teacher="nowhere")
    (tmp_path / "broken.onnx").write_bytes(b"this is not a network")
    assert message(teacher=str(tmp_path / "broken.onnx")).startswith("--teacher: ")
    file = write_teacher(tmp_path / "t.onnx")
    assert "takes images of 16 x 16 pixels, and this run has --image_size 112" in message(teacher=file, image_size=112)


def test_a_snapshot_says_itself_how_it_takes_images(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=1, save_last_snapshot=True)
    train(config, tiny_network())
    snapshot = next((tmp_path / "models").glob("*/snapshot_1"))
    with pytest.raises(UserError, match="is a snapshot and says how it takes images; omit --teacher_color_order, "):
        open_teacher(tiny_config(tmp_path, teacher=str(snapshot), teacher_color_order="bgr"))


def test_colours_mean_and_scale_of_the_teacher_are_honoured(tmp_path: Path) -> None:
    file = write_teacher(tmp_path / "t.onnx")
    images = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    plain = open_teacher(tiny_config(tmp_path, teacher=file))
    swapped = open_teacher(tiny_config(tmp_path, teacher=file, teacher_color_order="bgr"))
    expected = embed(plain.network, plain.arrays, np.ascontiguousarray(images[..., ::-1]))
    found = embed(swapped.network, swapped.arrays, images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    lines = describe_teacher(swapped, tiny_config(tmp_path, teacher=file), tiny_network())
    assert "the loss adds 1 x (1 - cosine with its embeddings)" in lines[0] and "images as BGR" in lines[1]


def test_memory_includes_the_teacher() -> None:
    words = "--use_synthetic_data 1 --num_classes 100 --network y1 --loss arcface --train_batch_size 16"
    config = complete_config(resolve_train_config(words.split()), 1, "cpu")
    network, teacher = build_network(config), build_network({**config, "net_name": "fresnet", "num_layers": 18})
    without, with_one = estimate_memory(config, network, 1), estimate_memory(config, network, 1, teacher)
    assert with_one.rank - without.rank == with_one.teacher > 4 * 20_000_000
    assert "teacher" in with_one.describe() and "teacher" not in without.describe()
