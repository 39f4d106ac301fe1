from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from backbones import build_network
from engine.saving import load_head
from launch.world import local_view
from ops import flow
from ops.heads.partial_fc import PartialFCHead
from ops.losses.margin import CombinedMargin
from snapshots.layout import HeadShard, describe_network
from snapshots.reader import Snapshot
from snapshots.writer import Contents, SnapshotWriter


@pytest.mark.parametrize(
    ("network", "mean", "scale"),
    [
        ({"net_name": "fresnet", "num_layers": 18}, 127.5, 0.0078125),
        ({"net_name": "fresnet", "num_layers": 18, "net_input": 2}, 0.0, 1.0),
        ({"net_name": "iresnet", "num_layers": 18}, 127.5, 1 / 127.5),
    ],
)
def test_the_preprocessing_is_that_of_the_network(network, mean, scale):
    graph = build_network({"net_output": "GAP", "image_size": 32, "emb_size": 16} | network)
    about = describe_network(graph)
    assert about["preprocessing"] == {"mean": mean, "scale": scale, "inside_network": True}
    assert (about["input"]["height"], about["emb_size"]) == (32, 16)


def test_rows_are_loaded_a_part_at_a_time(tmp_path: Path) -> None:
    classes, width = 300_000, 32  # five parts
    rng = np.random.default_rng(0)
    saved = {name: rng.standard_normal((classes, width), np.float32) for name in ("fc7_weight", "fc7_weight_momentum")}
    shard = HeadShard(0, 1, 0, classes, saved)
    fc7 = {"num_classes": classes, "emb_size": width, "shards": [{"file": shard.file, "rows": [0, classes]}]}
    about = {"step": 1, "position": 8, "highest_accuracy": 0.0, "config": {"network": "tiny"}, "fc7": fc7}
    writer = SnapshotWriter()
    writer.start(tmp_path / "snapshot_1", Contents(about, {}), shard, background=False)
    snapshot = Snapshot.open(tmp_path / "snapshot_1")
    head = PartialFCHead(
        classes + 5,
        width,
        flow.placement("cpu", ranks=[0]),
        0,
        margin=CombinedMargin(1.0, 0.5, 0.0),
        scale=16.0,
        sample_ratio=0.001,
        batch_size=8,
    )
    bank, new = head.banks["weight"], local_view(head.weight).numpy()[classes:].copy()
    bank.load_momentum(np.ones((5, width), np.float32), slice(classes, classes + 5))

    tracemalloc.start()
    try:
        load_head(head, snapshot, None, ["momentum"], lambda kind, name, where, rows: bank.load_momentum(rows, where))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(local_view(head.weight).numpy(), np.concatenate([saved["fc7_weight"], new]))
    np.testing.assert_array_equal(bank.view_momentum()[:classes], saved["fc7_weight_momentum"])
    np.testing.assert_array_equal(bank.view_momentum()[classes:], 1)
    assert peak < sum(array.nbytes for array in saved.values()) / 2
