from __future__ import annotations

import pytest

from engine.schedule import make_plan, step_scale


def test_step_scale_changes_at_its_steps() -> None:
    scales = [step_scale(step, [3, 5], [0.1, 0.01]) for step in range(8)]
    assert scales == [1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01, 0.01]
    assert step_scale(10**6, [], []) == 1.0


def config(**changes: object) -> dict:
    return {
        "train_batch_size": 8, "train_unit": "batch", "train_iter": 7, "iter_num_in_snapshot": 3,
        "validation_interval": 2, **changes,
    }  # fmt: skip


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
