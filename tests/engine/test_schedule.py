from __future__ import annotations

import numpy as np
import pytest

from common.errors import UserError
from engine.schedule import lr_scale, make_plan
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
