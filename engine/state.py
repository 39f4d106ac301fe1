"""Between live modules and snapshots: statistics averaged over ranks, class rows with the padding left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backbones.module import Backbone
from common.errors import UserError
from engine.snapshot import HeadShard, Snapshot
from engine.world import World, local_view
from ops import flow
from ops.base_head import Head


def average_statistics(backbone: Backbone, world: World) -> None:
    """Give every rank the mean of the ranks' BatchNorm statistics, which each keeps for its part of the batch.

    The statistics are running averages, hence linear: when this is done matters for rounding only. A collective call.
    """
    if world.size == 1:
        return
    specs = backbone.network.parameters()
    for name, tensor in backbone.named_tensors().items():
        if specs[name].auxiliary:
            local = local_view(tensor)
            local.copy_(world.average(local))


def describe_backbone(backbone: Backbone) -> dict[str, Any]:
    """Return what a reader needs to feed images to the weights: the preprocessing inside the network, and sizes."""
    network = backbone.network
    shift = next(node for node in network.nodes if node.op == "scale_shift")
    channels, height, width = next(network.shapes[node.name] for node in network.nodes if node.op == "input")
    return {
        "preprocessing": {"mean": shift.attrs["mean"], "scale": shift.attrs["scale"], "inside_network": True},
        "input": {"channels": channels, "height": height, "width": width, "order": "RGB", "range": [0, 255]},
        "emb_size": network.embedding_size,
    }


def load_backbone(backbone: Backbone, snapshot: Snapshot) -> None:
    """Fill the backbone from the snapshot.

    Raises:
        UserError: the snapshot is of another network.
    """
    try:
        backbone.load_arrays(snapshot.backbone())
    except UserError as error:
        network = snapshot.about["config"]["network"]
        raise UserError(f"{snapshot.path} (network {network}) does not fit: {error}") from error


def read_head(head: Head, momentum: Mapping[str, np.ndarray], world: World) -> tuple[HeadShard | None, dict[str, Any]]:
    """Return this rank's shard of class rows with their momentum, and what the manifest says of all shards.

    A replicated head is one shard, written by the first rank; the others return None for theirs.
    """
    layout = head.shards
    arrays = {}
    for name, parameter in head.named_parameters():
        arrays[f"fc7_{name}"] = local_view(parameter).numpy()
        arrays[f"fc7_{name}_momentum"] = momentum[f"fc7_{name}"]
    shards = [HeadShard(i, layout.shards, *layout.real_rows(i), {}) for i in range(layout.shards)]
    listed = [{"file": s.file, "rows": [s.start, s.stop]} for s in shards]
    about = {"num_classes": layout.num_classes, "emb_size": int(head.weight.shape[1]), "shards": listed}
    about |= {"num_subcenters": head.centres, "loss_state": head.loss.read_state()}
    if head.shard != world.rank:
        return None, about
    start, stop = layout.real_rows(head.shard)
    rows = {name: _by_class(array, head)[: stop - start] for name, array in arrays.items()}
    return HeadShard(head.shard, layout.shards, start, stop, rows), about


def load_head(head: Head, snapshot: Snapshot) -> dict[str, np.ndarray]:
    """Fill this rank's class rows from the snapshot, whatever number of shards it has; return their momentum.

    Classes that the snapshot does not have yet keep their initial rows, without momentum. The moving values of the loss
    come from there too, unless the snapshot is of a loss with others.

    Raises:
        UserError: the snapshot is of more classes, another number of sub-centers, embedding length or loss family.
    """
    about = {"num_subcenters": 1, **snapshot.about["fc7"]}  # snapshots that do not say have one
    classes = head.shards.num_classes
    for key, value in {"emb_size": int(head.weight.shape[1]), "num_subcenters": head.centres}.items():
        if about[key] != value:
            raise UserError(f"{snapshot.path} has {key}={about[key]}, this run {value}; try --pretrained")
    if about["num_classes"] > classes:
        raise UserError(
            f"{snapshot.path} has num_classes={about['num_classes']}, this run {classes}: classes can be added, not "
            "taken away; try --pretrained"
        )
    head.loss.load_state(about.get("loss_state", {}))
    start, stop = head.shards.real_rows(head.shard)
    rows = snapshot.head_rows(min(start, about["num_classes"]), min(stop, about["num_classes"]))
    momentum = {}
    for name, parameter in head.named_parameters():
        key = f"fc7_{name}"
        if key not in rows:
            raise UserError(f"{snapshot.path} has no {key}: it was trained with another loss; try --pretrained")
        local = local_view(parameter)
        own = rows[key].reshape(-1, *local.shape[1:])
        if len(own):
            local[: len(own)] = flow.tensor(own, device=local.device)
        momentum[key] = _pad_rows(rows[f"{key}_momentum"], tuple(local.shape))
    return momentum


def _by_class(array: np.ndarray, head: Head) -> np.ndarray:
    """Return the rows of ``head`` with classes along the first axis: [N, E], with sub-centers [N, K, E]."""
    return array if head.centres == 1 else array.reshape(-1, head.centres, *array.shape[1:])


def _pad_rows(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    rows = rows.reshape(-1, *shape[1:])
    padded = np.zeros(shape, np.float32)
    padded[: len(rows)] = rows
    return padded
