from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from evaluation.class_centres import describe_centres
from ops.heads import centre_sample as module
from ops.heads.centre_sample import sample_centres
from ops.heads.class_shards import ClassShards


@pytest.mark.parametrize(("classes", "sample"), [(50, 1024), (50, 10), (5, 1024)])
def test_padding_and_shards_without_classes_are_left_out(monkeypatch, classes, sample):
    """Of four shards, of which with five classes the last holds padding only."""
    monkeypatch.setattr(module, "SAMPLE", sample)
    layout = ClassShards(classes, 4)
    weight = np.zeros((layout.padded, 3), np.float32)
    weight[:classes] = np.random.default_rng(0).normal(size=(classes, 3)) + 5
    parts: list[np.ndarray] = []

    def ask(shard: int) -> np.ndarray:
        local = weight[shard * layout.rows : (shard + 1) * layout.rows]
        head = SimpleNamespace(shards=layout, shard=shard, centres=1, emb_size=3, read_centres=local.__getitem__)
        gather = lambda part: (parts.append(part), np.concatenate(parts))[1]  # noqa: E731
        return sample_centres(head, SimpleNamespace(gather=gather))

    values = describe_centres([ask(shard) for shard in range(4)][-1])
    assert len({part.shape for part in parts}) == 1
    if sample > classes:
        assert values == pytest.approx(describe_centres(weight[:classes]))
    else:
        assert values["norm_min"] > 1
