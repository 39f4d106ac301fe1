from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones.execution.backbone import Backbone
from backbones.graph.initializer import initial_arrays
from engine.optimizer import RULES, Optimizer
from engine.options import OptimizerOptions
from launch.world import join_world
from ops import flow
from ops.heads.base import Head
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from ops.moments import MOMENTS
from ops.runtime.tensors import local_view
from tests.support.tiny import tiny_config, tiny_network
from tests.support.update_reference import update_adamw

NETWORK = tiny_network(batch_norm=True)


def make_parts(**changes: Any) -> tuple[Optimizer, dict[str, flow.Tensor], Head]:
    """Return the optimiser, the live parameters by name, in the order of the gradients, and the head."""
    config = tiny_config(Path("unused"), "softmax", **changes)
    world = join_world("cpu")
    backbone = Backbone(NETWORK, initial_arrays(NETWORK, 1)).to_global(world.placement, flow.sbp.broadcast)
    head = build_head(HeadOptions.from_config(config), world)
    head.prepare(LABELS, 0, world)  # which rows take part: all of them, unless the test says otherwise
    named = dict(backbone.named_parameters()) | {f"fc7_{name}": p for name, p in head.named_parameters()}
    return Optimizer(backbone, head, OptimizerOptions.from_config(config)), named, head


def make_sgd(**changes: Any) -> tuple[Optimizer, dict[str, flow.Tensor]]:
    return make_parts(**changes)[:2]


def read(tensors: dict[str, flow.Tensor]) -> dict[str, np.ndarray]:
    return {name: local_view(tensor).numpy().copy() for name, tensor in tensors.items()}


def draw_gradients(arrays: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 1, array.shape).astype(np.float32) for name, array in arrays.items()}


def to_tensors(gradients: dict[str, np.ndarray], like: dict[str, flow.Tensor]) -> list[flow.Tensor]:
    return [flow.tensor(gradients[name]).to_global(t.placement, t.sbp) for name, t in like.items()]


DECAYING = {"conv0_weight", "bn0_gamma", "relu0_gamma", "fc1_weight"}
NOT_DECAYING = {"conv0_bias", "bn0_beta", "fc1_bias", "fc7_bias"}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_equal_numpy(momentum: float) -> None:
    settings = {"lr": 0.1, "momentum": momentum, "weight_decay": 0.01, "fc7_lr_mult": 3.0, "fc7_wd_mult": 10.0}
    sgd, tensors = make_sgd(**settings)
    weights = {name: array.astype(np.float64) for name, array in read(tensors).items()}
    assert set(weights) == DECAYING | NOT_DECAYING | {"fc7_weight"}
    buffers = {name: np.zeros_like(array) for name, array in weights.items()}
    for step, scale in enumerate((1.0, 1.0, 0.1, 0.1)):
        gradients = draw_gradients(weights, step)
        sgd.step(to_tensors(gradients, tensors), scale)
        for name in weights:
            decay = 0.01 * (10 if name == "fc7_weight" else name in DECAYING)
            rate = 0.1 * scale * {"fc7_weight": 3, "fc7_bias": 2}.get(name, 1)
            buffers[name] = momentum * buffers[name] + gradients[name] + decay * weights[name]
            weights[name] = weights[name] - rate * buffers[name]
    for name, array in read(tensors).items():
        np.testing.assert_allclose(array, weights[name], rtol=1e-5, atol=1e-6, err_msg=name)
    if momentum:
        for name, array in sgd.read_moments()["momentum"].items():
            np.testing.assert_allclose(array, buffers[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("partial", [False, True])
def test_adamw_equals_numpy(partial: bool) -> None:
    settings = {
        "optimizer": "adamw",
        "adam_betas": [0.8, 0.95],
        "adam_eps": 1e-6,
        "lr": 0.02,
        "weight_decay": 0.1,
        "fc7_lr_mult": 3.0,
        "fc7_wd_mult": 10.0,
    }
    adamw, tensors, head = make_parts(**{**(PARTIAL if partial else {}), **settings})
    values = {name: array.astype(np.float64) for name, array in read(tensors).items()}
    moments = [{name: np.zeros_like(array) for name, array in values.items()} for _ in range(2)]
    for step, scale in enumerate((1.0, 1.0, 0.1, 0.1)):
        if partial:
            gradients = step_partially(adamw, tensors, head, step, scale)
        else:
            gradients = draw_gradients(values, step)
            adamw.step(to_tensors(gradients, tensors), scale)
        for name in values:
            which = gradients["rows"] if partial and name.startswith("fc7_") else slice(None)
            gradient = gradients[name][: len(which)] if isinstance(which, np.ndarray) else gradients[name]
            values[name][which], moments[0][name][which], moments[1][name][which] = update_adamw(
                values[name][which],
                moments[0][name][which],
                moments[1][name][which],
                gradient,
                lr=0.02 * scale * {"fc7_weight": 3, "fc7_bias": 2}.get(name, 1),
                betas=(0.8, 0.95),
                eps=1e-6,
                weight_decay=0.1 * (10 if name == "fc7_weight" else name in DECAYING),
                step=step + 1,
            )
    assert adamw.updates == 4
    for name, array in read(tensors).items():
        np.testing.assert_allclose(array, values[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for kind, expected in zip(("momentum", "variance"), moments, strict=True):
        for name, array in adamw.read_moments()[kind].items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("optimizer", MOMENTS)
def test_momentum_travels_to_another_optimiser(optimizer: str) -> None:
    first, tensors = make_sgd(optimizer=optimizer)
    for step in range(3):
        first.step(to_tensors(draw_gradients(read(tensors), step), tensors), 1.0)
    second, copies = make_sgd(optimizer=optimizer)
    for name, array in read(tensors).items():
        local_view(copies[name]).copy_(flow.tensor(array))
    assert all((array == 0).all() for array in second.read_moments()["momentum"].values())
    second.load_moments(first.read_moments())
    second.updates = first.updates
    gradients = draw_gradients(read(tensors), 9)
    for sgd, own in ((first, tensors), (second, copies)):
        sgd.step(to_tensors(gradients, own), 0.5)
    for name, array in read(tensors).items():
        np.testing.assert_array_equal(read(copies)[name], array, err_msg=name)


def test_moments_are_copies() -> None:
    sgd, tensors = make_sgd()
    sgd.step(to_tensors(draw_gradients(read(tensors), 0), tensors), 1.0)
    before = sgd.read_moments()["momentum"]
    kept = {name: array.copy() for name, array in before.items()}
    sgd.step(to_tensors(draw_gradients(read(tensors), 1), tensors), 1.0)
    sgd.read_moments()
    for name in kept:
        np.testing.assert_array_equal(before[name], kept[name])


PARTIAL = {
    "partial_fc": True,
    "sample_ratio": 0.5,
    "lr": 0.1,
    "weight_decay": 0.01,
    "fc7_lr_mult": 3.0,
    "fc7_wd_mult": 10.0,
}
LABELS = np.array([3, 30, 0, 17, 7, 3, 24, 11], np.int32)


def step_partially(
    sgd: Optimizer, tensors: dict[str, flow.Tensor], head: Head, step: int, scale: float
) -> dict[str, Any]:
    """Sample for ``step`` and update by drawn gradients; return the rows, and the gradients as they were passed."""
    head.prepare(LABELS, step, join_world("cpu"))
    rows, slots = head.sampling.draw(0, LABELS, step), head.sampling.slots
    shapes = {
        name: np.zeros((slots, *t.shape[1:]) if name.startswith("fc7_") else tuple(t.shape))
        for name, t in tensors.items()
    }
    gradients = draw_gradients(shapes, step)
    sgd.step(to_tensors(gradients, tensors), scale)
    return {"rows": rows, **gradients}


def test_sampled_rows_of_the_head_are_updated_and_no_others() -> None:
    sgd, tensors, head = make_parts(**PARTIAL)
    weights = {name: array.astype(np.float64) for name, array in read(tensors).items()}
    buffers = {name: np.zeros_like(array) for name, array in weights.items()}
    sampled = np.zeros(31, int)
    for step, scale in enumerate((1.0, 1.0, 0.1, 0.1)):
        before = read(tensors)
        done = step_partially(sgd, tensors, head, step, scale)
        sampled[done["rows"]] += 1
        for name in weights:
            which = done["rows"] if name.startswith("fc7_") else slice(None)
            decay = 0.01 * (10 if name == "fc7_weight" else name in DECAYING)
            rate = 0.1 * scale * {"fc7_weight": 3, "fc7_bias": 2}.get(name, 1)
            gradient = done[name][: len(done["rows"])] if name.startswith("fc7_") else done[name]
            buffers[name][which] = 0.9 * buffers[name][which] + gradient + decay * weights[name][which]
            weights[name][which] -= rate * buffers[name][which]
        others = np.setdiff1d(np.arange(31), done["rows"])
        for name in ("fc7_weight", "fc7_bias"):
            np.testing.assert_array_equal(read(tensors)[name][others], before[name][others])
    assert sampled.min() < 4 and len(np.unique(sampled)) > 1
    for name, array in read(tensors).items():
        np.testing.assert_allclose(array, weights[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for name, array in sgd.read_moments()["momentum"].items():
        np.testing.assert_allclose(array, buffers[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("optimizer", MOMENTS)
def test_momentum_of_sampled_rows_travels_to_another_optimiser(optimizer: str) -> None:
    first = make_parts(**PARTIAL, optimizer=optimizer)
    for step in range(3):
        step_partially(*first, step, 1.0)
    second = make_parts(**PARTIAL, optimizer=optimizer)
    for name, array in read(first[1]).items():
        local_view(second[1][name]).copy_(flow.tensor(array))
    assert all((array == 0).all() for array in second[0].read_moments()["momentum"].values())
    second[0].load_moments(first[0].read_moments())
    second[0].updates = first[0].updates
    for parts in (first, second):
        step_partially(*parts, 9, 0.5)
    for name, array in read(first[1]).items():
        np.testing.assert_array_equal(read(second[1])[name], array, err_msg=name)


def test_every_optimiser_says_what_it_keeps() -> None:
    assert RULES.keys() == MOMENTS.keys()
