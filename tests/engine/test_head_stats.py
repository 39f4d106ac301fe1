from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from engine import head_stats as module
from engine.head_stats import describe_centres, head_statistics
from ops import flow
from ops.heads.class_shards import ClassShards


def test_centres_along_the_axes():
    values = describe_centres(np.diag([1.0, 2.0, 3.0]).astype(np.float32))
    assert values["norm_mean"] == pytest.approx(2) and values["norm_min"] == 1 and values["norm_max"] == 3
    assert values["norm_std"] == pytest.approx(np.sqrt(2 / 3))
    for name in ("angle_mean", "nearest_mean", "nearest_min"):
        assert values[name] == pytest.approx(90)


def test_the_nearest_one_counts():
    angles = np.radians([0, 10, 40])
    values = describe_centres(np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32))
    assert values["nearest_min"] == pytest.approx(10, rel=1e-3)
    assert values["nearest_mean"] == pytest.approx((10 + 10 + 30) / 3, rel=1e-3)
    assert values["angle_mean"] == pytest.approx((10 + 40 + 30) / 3, rel=1e-3)


def test_one_centre_has_no_angles():
    assert describe_centres(np.ones((1, 4), np.float32))["norm_mean"] == 2


@pytest.mark.parametrize(("classes", "sample"), [(50, 1024), (50, 10), (5, 1024)])
def test_padding_and_shards_without_classes_are_left_out(monkeypatch, classes, sample):
    """Of four shards, of which with five classes the last holds padding only."""
    monkeypatch.setattr(module, "SAMPLE", sample)
    layout = ClassShards(classes, 4)
    weight = np.zeros((layout.padded, 3), np.float32)
    weight[:classes] = np.random.default_rng(0).normal(size=(classes, 3)) + 5
    parts: list[np.ndarray] = []

    def ask(shard: int) -> dict[str, float]:
        local = flow.tensor(weight[shard * layout.rows : (shard + 1) * layout.rows])
        head = SimpleNamespace(shards=layout, shard=shard, weight=local, centres=1)
        gather = lambda part: (parts.append(part), np.concatenate(parts))[1]  # noqa: E731
        return head_statistics(head, SimpleNamespace(gather=gather))

    values = [ask(shard) for shard in range(4)][-1]
    assert len({part.shape for part in parts}) == 1
    if sample > classes:
        assert values == pytest.approx(describe_centres(weight[:classes]))
    else:
        assert values["norm_min"] > 1
