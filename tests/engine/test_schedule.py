from __future__ import annotations

import numpy as np
import pytest

from common.errors import UserError
from engine.schedule import Plan, Progress, lr_scale, make_plan, read_progress
from settings.complete import place_lr_steps


def config(**changes: object) -> dict:
    return {
        "train_batch_size": 8,
        "train_unit": "batch",
        "train_iter": 7,
        "iter_num_in_snapshot": 3,
        "max_steps": 0,
        "end_epoch": 0,
        "validation_interval": 2,
        "lr_schedule": "step",
        "lr_steps": [],
        "scales": [],
        "warmup_steps": 0,
        "warmup_epochs": 0.0,
        **changes,
    }


def scales(**changes: object) -> list[float]:
    """Return the factor on the learning rate in each of the 7 steps."""
    settings = config(**changes)
    return [lr_scale(step, make_plan(settings, 16), settings) for step in range(7)]


def test_step_scale_changes_at_its_steps() -> None:
    assert scales(lr_steps=[3, 5], scales=[0.1, 0.01]) == [1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    assert scales() == [1.0] * 7


@pytest.mark.parametrize(("images", "steps"), [(80, 10), (81, 11), (7, 1)])
def test_an_epoch_covers_every_image(images: int, steps: int) -> None:
    assert make_plan(config(), images).steps_per_epoch == steps


def test_units() -> None:
    batches, epochs = make_plan(config(), 81), make_plan(config(train_unit="epoch"), 81)
    assert (batches.total_steps, batches.snapshot_interval, batches.validation_interval) == (7, 3, 2)
    assert (epochs.total_steps, epochs.snapshot_interval, epochs.validation_interval) == (77, 33, 22)


def test_intervals() -> None:
    plan = make_plan(config(), 80)
    assert [step for step in range(1, 8) if plan.is_snapshot(step)] == [3, 6]
    assert [step for step in range(1, 8) if plan.is_validation(step)] == [2, 4, 6]
    never = make_plan(config(iter_num_in_snapshot=0), 80)
    assert not any(never.is_snapshot(step) for step in range(1, 8))


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"max_steps": 5}, 5),
        ({"max_steps": 9}, 7),
        ({"end_epoch": 3}, 6),
        ({"end_epoch": 4}, 7),
        ({"train_iter": 0, "end_epoch": 9}, 18),
        ({"train_iter": 0, "end_epoch": 9, "max_steps": 11}, 11),
        ({"train_unit": "epoch", "max_steps": 5}, 5),
    ],
)
def test_the_first_end_counts(changes: dict, steps: int) -> None:
    assert make_plan(config(**changes), 16).total_steps == steps


def test_steps_move_with_the_batch() -> None:
    """train_softmax.py: int(step * 512 / batch), and beta_freeze later."""
    given = {"lr_steps": [100000, 140001], "train_batch_size": 384}
    assert place_lr_steps({**given, "lr_steps_batch": 0, "loss_lambda_freeze": 0}) == [100000, 140001]
    placed = place_lr_steps({**given, "lr_steps_batch": 512, "loss_lambda_freeze": 5000})
    assert placed == [int(step * 512.0 / 384) + 5000 for step in (100000, 140001)]


def test_poly_is_that_of_arcface_torch() -> None:
    """lr = base * (1 - (step - warmup) / (total - warmup)) ** power after the warm-up."""
    assert scales(lr_schedule="poly", lr_power=2.0) == pytest.approx([(1 - step / 7) ** 2 for step in range(7)])
    found = scales(lr_schedule="poly", lr_power=1.0, warmup_steps=2)
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine() -> None:
    found = scales(lr_schedule="cosine", warmup_epochs=1.5)  # of 2 steps
    assert found == pytest.approx([1 / 3, 2 / 3, 1, 1, *np.cos(np.pi * np.array([1, 2, 3]) / 4) / 2 + 0.5])


def test_warm_up_goes_with_steps() -> None:
    assert scales(lr_steps=[3], scales=[0.1], warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 0.1, 0.1, 0.1, 0.1])


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    assert make_plan(config(warmup_steps=6), 80).warmup_steps == 6
    for changes in ({"warmup_steps": 7}, {"warmup_epochs": 0.7}):
        with pytest.raises(UserError, match="a warm-up of 7 steps leaves nothing of the 7 of the training"):
            make_plan(config(**changes), 80)


# ---------------------------------------------------------------------------------------- another batch on resume


def resumed(batch: int, step: int, old_batch: int = 8, images: int = 80, **changes: object) -> tuple[Plan, dict]:
    """Return plan and settings of a run that resumes with ``batch`` after ``step`` steps of ``old_batch`` images."""
    old = make_plan(config(train_batch_size=old_batch), images)
    about = {"step": step, "position": step * old_batch, "epochs": old.epochs_done(step), "config": {}}
    settings = config(train_batch_size=batch, **changes)
    return make_plan(settings, images, read_progress(about, images)), settings


@pytest.mark.parametrize("images", [80, 81, 97])
@pytest.mark.parametrize("step", range(0, 40, 3))
def test_the_same_batch_changes_nothing(images: int, step: int) -> None:
    changes = {"train_unit": "epoch", "train_iter": 4, "warmup_epochs": 0.5, "lr_steps_batch": 8, "end_epoch": 5}
    straight = make_plan(config(**changes), images)
    plan, settings = resumed(8, step, images=images, **changes)
    assert plan == straight
    assert lr_scale(step, plan, settings) == lr_scale(step, straight, settings)


@pytest.mark.parametrize(("batch", "per_epoch", "place", "left"), [(16, 5, 2, 8), (4, 20, 8, 32), (40, 2, 1, 3)])
def test_epochs_come_from_the_data_and_not_from_the_number_of_steps(
    batch: int, per_epoch: int, place: int, left: int
) -> None:
    """2.4 epochs are behind the run; the fourth ends after 1.6 more, to the nearest batch."""
    plan, _ = resumed(batch, 24, train_iter=0, end_epoch=4)
    assert plan.steps_per_epoch == per_epoch
    assert plan.epoch_of(24) == (2, place)
    assert plan.total_steps == 24 + left
    assert plan.epoch_of(plan.total_steps) == (4, 0)


def test_an_epoch_that_is_not_a_whole_number_of_batches_stays_finished() -> None:
    """40 epochs of 100 images in 7 batches of 16, or in 10 of 10: the number of epochs survives either change."""
    for old, new in ((16, 10), (10, 16)):
        steps = 40 * -(-100 // old)
        plan, _ = resumed(new, steps, old, images=100, train_iter=0, end_epoch=41)
        assert plan.epoch_of(steps) == (40, 0) and plan.total_steps == steps + -(-100 // new)


def test_intervals_in_epochs_go_on_where_they_were() -> None:
    plan, _ = resumed(16, 25, train_unit="epoch", train_iter=4, iter_num_in_snapshot=1, validation_interval=2)
    ends = [step for step in range(26, 60) if plan.is_snapshot(step)]
    assert ends[:3] == [28, 33, 38]  # 12 of 15 batches of 16 were behind it: 2.4 epochs
    assert [step for step in range(26, 60) if plan.is_validation(step)][:2] == [33, 43]
    assert plan.total_steps == 33
    batches, _ = resumed(16, 25, train_iter=40)
    assert [step for step in range(26, 34) if batches.is_snapshot(step)] == [27, 30, 33]
    assert batches.total_steps == 40


def test_a_warm_up_in_epochs_goes_on_where_it_was() -> None:
    """A warm-up of two epochs of 10 steps is half done: with batches of twice the size 5 of 10 steps are left."""
    plan, settings = resumed(16, 10, warmup_epochs=2.0, train_iter=100)
    found = [lr_scale(step, plan, settings) for step in range(10, 17)]
    assert found == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0])
    plan, settings = resumed(16, 10, warmup_steps=20, train_iter=100)
    assert lr_scale(10, plan, settings) == pytest.approx(11 / 20)  # given in batches


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_schedules_that_end_with_an_epoch_reach_0_there(warmup: float) -> None:
    given = {"lr_schedule": "poly", "lr_power": 1.0, "warmup_epochs": warmup, "train_iter": 0, "end_epoch": 4}
    before, settings = make_plan(config(**given), 80), config(**given)
    plan, _ = resumed(16, 20, **given)
    after = config(train_batch_size=16, **given)
    assert lr_scale(20, plan, after) == pytest.approx(lr_scale(20, before, settings))
    assert plan.total_steps == 30 and lr_scale(30, plan, after) == 0
    assert lr_scale(25, plan, after) == pytest.approx(lr_scale(30, before, settings))


def test_a_schedule_on_mixed_clocks_stays_in_range() -> None:
    for batch, step in ((4, 30), (16, 30), (40, 50)):
        for given in ({"warmup_epochs": 2.0, "train_iter": 60}, {"warmup_steps": 15, "train_iter": 0, "end_epoch": 9}):
            plan, settings = resumed(batch, step, lr_schedule="cosine", **given)
            found = [lr_scale(at, plan, settings) for at in range(step, plan.total_steps + 1)]
            assert all(0 <= scale <= 1 for scale in found) and found[-1] == pytest.approx(0)


def test_steps_that_are_meant_for_a_batch_are_reached_after_as_many_images() -> None:
    """Step 30 of batches of 8 is after 240 images: after 20 steps of 8, five of 16 are left."""
    placed = {"lr_steps": [15], "scales": [0.1], "lr_steps_batch": 8, "train_iter": 90}  # as place_lr_steps gives them
    plan, settings = resumed(16, 20, **placed)
    assert [lr_scale(step, plan, settings) for step in range(23, 27)] == [1.0, 1.0, 0.1, 0.1]
    plan, settings = resumed(16, 20, **{**placed, "lr_steps_batch": 0, "lr_steps": [23]})
    assert [lr_scale(step, plan, settings) for step in range(21, 25)] == [1.0, 1.0, 0.1, 0.1]


def test_an_older_snapshot_counted_epochs_in_its_own_batches() -> None:
    about = {"step": 25, "position": 200, "config": {"train_batch_size": 8}}
    assert read_progress(about, 80) == Progress(25, 200, 2.5)
    assert read_progress({**about, "config": {}}, 80) == Progress(25, 200, 2.5)
    assert read_progress({**about, "step": 0, "position": 0, "config": {}}, 80) == Progress(0, 0, 0.0)
