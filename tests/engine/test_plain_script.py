"""A training without ranks, graphs or files: the parts of the project in a plain script."""

from __future__ import annotations

import numpy as np

from backbones import build_backbone
from engine.optimizer import Optimizer
from engine.options import OptimizerOptions
from ops import flow
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from settings.config_file import merge, sample_tables


def test_ten_lines_train() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 3, 112, 112), np.uint8), np.arange(8, dtype=np.int32)
    losses = []

    config = merge(sample_tables(), "y1", "orl", "arcface").replaced(num_classes=10, loss_s=16.0)
    backbone, head = build_backbone(config, seed=1).train(), build_head(HeadOptions.from_config(config))
    optimizer = Optimizer(backbone, head, OptimizerOptions(lr=0.02))
    for step in range(6):
        result = head(backbone(flow.tensor(images)), *head.prepare(labels, step))
        gradients = flow.autograd.grad([result.loss], [*backbone.parameters(), *result.trained])
        head.loss.set_state(list(head.loss.new_state.values()))
        optimizer.step(gradients, 1.0)
        losses.append(float(result.loss.numpy()))

    assert np.isfinite(losses).all() and losses[-1] < 0.5 * losses[0]
