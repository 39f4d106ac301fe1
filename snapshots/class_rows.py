"""Class rows between live heads and snapshots: without padding, on any number of ranks. Needs OneFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import UserError
from common.wording import counted
from ops import flow
from ops.heads.base import ClassHead, Head
from ops.rows.selection import RowSelection
from ops.runtime.tensors import local_view
from snapshots.label_map import LabelMap
from snapshots.layout import HeadShard
from snapshots.reader import Snapshot

# Arguments: kind of moment, parameter, which rows, new values.
SetRows = Callable[[str, str, RowSelection, np.ndarray], None]


def describe_rows(head: Head, snapshot: Snapshot, label_map: LabelMap | None, moments: str = "") -> str:
    """Return in a few words which class rows ``load_head`` takes from a snapshot."""
    if not isinstance(head, ClassHead):
        return "there are no class rows"
    classes = head.shards.num_classes
    known = snapshot.about["fc7"]["num_classes"] if label_map is None else len(label_map.new)
    text = f"rows of {counted(known, 'class')}" + (f" with {moments}" if moments else "")
    text += f" by {label_map.path}" if label_map is not None else ""
    return (
        text if known == classes else f"{text}; {classes - known} classes are new: they start from their initial rows"
    )


def read_head(
    head: Head, moments: Mapping[str, Mapping[str, np.ndarray]], rank: int, copy: bool = True
) -> tuple[HeadShard | None, dict[str, Any]]:
    """Return the shard of class rows that ``rank`` writes, with their moments, and the manifest's entry on all shards.

    A replicated head is one shard, which the first rank writes; the other ranks get None. Without ``copy`` the arrays
    are the live ones. A head without classes has no shards.
    """
    if not isinstance(head, ClassHead):
        return None, {"num_classes": 0, "shards": [], "loss_state": head.loss.read_state()}
    layout = head.shards
    shards = [HeadShard(i, layout.shards, *layout.real_rows(i), {}) for i in range(layout.shards)]
    listed = [{"file": s.file, "rows": [s.start, s.stop]} for s in shards]
    about = {"num_classes": layout.num_classes, "emb_size": head.emb_size, "shards": listed}
    about["dtype"] = "float32" if head.bfloat16_rows is None else "bf16"
    about |= {"num_subcenters": head.centres, "loss_state": head.loss.read_state()}
    trained = head.loss.trained_numbers()
    if trained:
        about["loss_trained"] = {name: _describe_number(name, value, moments) for name, value in trained.items()}
    if head.shard != rank:
        return None, about
    arrays = {}
    for name, rows in head.view_rows().items():
        arrays[f"fc7_{name}"] = rows.copy() if copy else rows
        arrays |= {f"fc7_{name}_{kind}": own[f"fc7_{name}"] for kind, own in moments.items()}
    start, stop = layout.real_rows(head.shard)
    rows = {name: _by_class(array, head)[: stop - start] for name, array in arrays.items()}
    return HeadShard(head.shard, layout.shards, start, stop, rows), about


def load_head(
    head: Head,
    snapshot: Snapshot,
    label_map: LabelMap | None = None,
    kinds: Sequence[str] = (),
    load_moments: SetRows | None = None,
) -> None:
    """Fill this rank's class rows from a snapshot with any number of shards, some of them at a time.

    Snapshots with rows in float32 and in bfloat16 fill heads of either kind.

    The moments of ``kinds`` go to ``load_moments``. Classes that the snapshot does not have keep their initial rows,
    without moments: those above its number of classes, or with a label map those that it does not name.

    Raises:
        UserError: the snapshot has more classes, another number of sub-centers or embedding length, or is of another
            loss family, or the map does not fit.
    """
    if not snapshot.is_full:
        raise UserError(f"{snapshot.path} contains no class rows: it is a backbone-only snapshot")
    if snapshot.has_classes != isinstance(head, ClassHead):
        others, own = ("class rows", "none") if snapshot.has_classes else ("no class rows", "some")
        raise UserError(f"{snapshot.path} has {others}, this run's loss needs {own}; try --pretrained")
    if not isinstance(head, ClassHead):
        return
    about = {"num_subcenters": 1, **snapshot.about["fc7"]}  # older snapshots have one
    for key, value in {"emb_size": head.emb_size, "num_subcenters": head.centres}.items():
        if about[key] != value:
            raise UserError(f"{snapshot.path} has {key}={about[key]}, this run {value}; try --pretrained")
    found = snapshot.head_rows(0, 0)
    for name in head.row_shapes:
        if f"fc7_{name}" not in found:
            raise UserError(f"{snapshot.path} has no fc7_{name}: it was trained with another loss; try --pretrained")
    _load_trained(head, about.get("loss_trained", {}), kinds, load_moments)
    own, sources = _source_classes(head, snapshot, label_map)
    for places, rows in snapshot.head_pieces(sources):
        targets = (own[places][:, None] * head.centres + np.arange(head.centres)).reshape(-1)
        first, count = int(targets[0]), len(targets)
        # A slice is much faster.
        where = slice(first, first + count) if np.array_equal(targets, np.arange(first, first + count)) else targets
        for name, shape in head.row_shapes.items():
            head.load_rows(name, where, rows[f"fc7_{name}"].reshape(-1, *shape))
            for kind in kinds:
                load_moments(kind, f"fc7_{name}", where, rows[f"fc7_{name}_{kind}"].reshape(-1, *shape))


def _describe_number(
    name: str, value: flow.Tensor, moments: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, float]:
    """Return a number that the loss trains, and its moments by kind."""
    found = {"value": local_view(value).numpy(), **{kind: own[f"fc7_loss.{name}"] for kind, own in moments.items()}}
    return {kind: float(array[0]) for kind, array in found.items()}


def _load_trained(
    head: ClassHead, numbers: Mapping[str, Any], kinds: Sequence[str], load_moments: SetRows | None
) -> None:
    """Set the numbers that the loss trains, and their moments; those of another loss are ignored."""
    for name, value in head.loss.trained_numbers().items():
        if name in numbers:
            local_view(value).fill_(numbers[name]["value"])
            for kind in kinds:
                load_moments(
                    kind, f"fc7_loss.{name}", slice(None), np.array([numbers[name].get(kind, 0.0)], np.float32)
                )


def _source_classes(head: ClassHead, snapshot: Snapshot, label_map: LabelMap | None) -> tuple[np.ndarray, np.ndarray]:
    """Return this rank's classes that are in the snapshot, counted from its first, and their classes there: int64."""
    old, new = snapshot.about["fc7"]["num_classes"], head.shards.num_classes
    start, stop = head.shards.real_rows(head.shard)
    if label_map is None:
        if old > new:
            raise UserError(
                f"{snapshot.path} has num_classes={old}, this run {new}: classes can be added, not taken away; use "
                "--label_map or --pretrained"
            )
        sources = np.arange(min(start, old), min(stop, old))
        return sources - start, sources
    label_map.check_sizes(old, new)
    sources = label_map.source_classes(start, stop)
    own = np.flatnonzero(sources >= 0)
    return own, sources[own]


def _by_class(array: np.ndarray, head: ClassHead) -> np.ndarray:
    """Return the rows of ``head`` with classes along the first axis: [N, E], with sub-centers [N, K, E]."""
    return array if head.centres == 1 else array.reshape(-1, head.centres, *array.shape[1:])
