"""The class rows of other trainers: beside the network in its file, or in a file for each rank.

arcface_torch gives rank r of W the next ``C // W + (r < C % W)`` of C classes and saves the rows of each rank apart, as
``checkpoint_gpu_R.pt`` or ``rank_R_softmax_weight.pt``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from common.errors import UserError, require
from interchange.pytorch.archive import read_archive
from interchange.pytorch.checkpoint import Arrays, flatten, list_names, show
from interchange.pytorch.tensors import Array, Tensor

_ROWS = ("weight", "kernel", "W")
_TRANSPOSED = "kernel"  # an array of this name holds a class in each column
_NO_HEADS = ("optim", "lr_sched", "ema", "momentum")
_RANK_FILES = (re.compile(r"checkpoint_gpu_(\d+)\.pt$"), re.compile(r"rank_(\d+)_softmax_weight\.pt$"))
_MOMENTUM = re.compile(r"rank_\d+_softmax_weight_mom\.pt$")
_BACKBONES = ("backbone.pth", "backbone.pt", "model.pt", "model.pth")
# Moving values by our names: of AdaFace, whose head has CurricularFace's too without using it, and of CurricularFace.
_LOSS_STATES = ({"length_mean": "batch_mean", "length_std": "batch_std"}, {"t": "t"})
_NAMED = 8  # missing ranks that a message names
_SOFTMAX = "state_dict_softmax_fc.weight"


def take_rows(beside: Arrays, length: int) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Return the class rows among arrays that are not of the network, as ``fc7_weight`` and perhaps ``fc7_bias``.

    The second result names the arrays taken, the third has notes on them.
    """
    candidates = [name for name, array in beside.items() if _may_be_rows(name, array, length)]
    if len(candidates) != 1:
        notes = [f"{len(candidates)} arrays could be class rows, and none is taken: {list_names(candidates)}"]
        return {}, [], notes if candidates else []
    name = candidates[0]
    values = np.asarray(beside[name])
    stem, _, part = name.rpartition(".")
    is_square = values.shape[0] == values.shape[1]
    in_columns = part == _TRANSPOSED if is_square else values.shape[1] != length
    rows = np.ascontiguousarray((values.T if in_columns else values).astype(np.float32))
    head, taken = {"fc7_weight": rows}, [name]
    notes = [f"{show(name)}: rows of {len(rows)} classes" + (", one in each column" if in_columns else "")]
    bias = f"{stem}.bias" if stem else "bias"
    if bias in beside and beside[bias].shape == (len(rows),):
        head["fc7_bias"] = np.asarray(beside[bias]).astype(np.float32)
        taken.append(bias)
    return head, taken, notes


def take_loss_state(beside: Arrays, taken: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Return the moving values of AdaFace's or CurricularFace's loss beside its class rows, by our names.

    The second result names the arrays.
    """
    stem = taken[0].rpartition(".")[0] if taken else ""
    for state in _LOSS_STATES:
        names = {ours: f"{stem}.{theirs}" if stem else theirs for ours, theirs in state.items()}
        values = {ours: np.asarray(beside[name]) for ours, name in names.items() if name in beside}
        if taken and len(values) == len(state) and all(v.size == 1 and np.isfinite(v).all() for v in values.values()):
            return {ours: float(value.reshape(-1)[0]) for ours, value in values.items()}, list(names.values())
    return {}, []


def _may_be_rows(name: str, array: Array, length: int) -> bool:
    is_other = any(word in part for part in name.lower().split(".") for word in _NO_HEADS)
    named = name.rpartition(".")[2] in _ROWS
    return named and not is_other and array.ndim == 2 and length in array.shape and array.dtype.kind == "f"


def is_momentum(path: str) -> bool:
    """Tell whether a file is named like arcface_torch's momentum of class rows."""
    return bool(_MOMENTUM.search(Path(path).name))


def rank_files(path: str | Path) -> list[Path]:
    """Return the files of all ranks that belong to ``path``, by rank; an empty list if there are none.

    ``path`` is one of them, or the backbone beside ``rank_R_softmax_weight.pt``.

    Raises:
        UserError: a rank is missing.
    """
    path = Path(path)
    patterns = [pattern for pattern in _RANK_FILES if pattern.match(path.name)]
    if not patterns and path.name in _BACKBONES:
        patterns = [_RANK_FILES[1]]
    if not patterns:
        return []
    files = {int(m[1]): file for file in path.parent.glob("*.pt") if (m := patterns[0].match(file.name))}
    missing = list(islice((rank for rank in range(max(files, default=-1) + 1) if rank not in files), _NAMED + 1))
    named = ", ".join(map(str, missing[:_NAMED])) + ", ..." * (len(missing) > _NAMED)
    require(
        not missing,
        f"{path.parent} has no rows of rank {named}, but those of rank {max(files, default=0)}; "
        "copy the files of all ranks there",
    )
    return [files[rank] for rank in sorted(files)]


def join_ranks(files: Sequence[Path], length: int) -> np.ndarray:
    """Return the class rows [C, ``length``] of all ranks.

    Raises:
        UserError: a file holds other arrays, or the files are not those of one run.
    """
    pieces, steps = [], {}
    for file in files:
        content, _ = read_archive(file)
        rows = content if isinstance(content, Tensor) else flatten(content, str(file)).get(_SOFTMAX)
        if rows is None or rows.ndim != 2 or rows.shape[1] != length:
            found = "none" if rows is None else f"the shape {rows.shape}"
            raise UserError(f"{file}: expected class rows of {length} numbers, found {found}")
        if isinstance(content, Mapping) and isinstance(content.get("global_step"), int):
            steps[file] = content["global_step"]
        pieces.append(np.asarray(rows).astype(np.float32))
    if len(set(steps.values())) > 1:
        said = ", ".join(f"{file.name} of step {step}" for file, step in steps.items())
        raise UserError(f"the files of the ranks are of different steps: {said}")
    counts, classes, ranks = [len(piece) for piece in pieces], sum(map(len, pieces)), len(pieces)
    expected = [classes // ranks + (rank < classes % ranks) for rank in range(ranks)]
    require(
        counts == expected,
        f"{files[0].parent}: the {ranks} ranks have {counts} class rows; arcface_torch splits {classes} classes into "
        f"{expected}. A rank is missing, or the files are of different runs",
    )
    return np.concatenate(pieces)
