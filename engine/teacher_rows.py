"""The class rows of a teacher, for its softmax over the classes (``--teacher_logits``). Free of OneFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from interchange.open_model import TrainedModel, is_snapshot
from snapshots.reader import Snapshot

_BLOCK = 1 << 14  # classes read at a time
_FLAG = "--teacher_logits"


@dataclass(frozen=True, eq=False)
class TeacherRows:
    """Class rows of a trained network.

    Attributes:
        centres: rows of a class, consecutive.
        length: of a row, that of the network's embeddings.
    """

    centres: int
    length: int
    _read: Callable[[int, int], np.ndarray]  # the rows of some classes

    def read_units(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write the rows of the classes ``start`` to ``stop`` - 1, with length 1, to ``out``, float32 [N, length].

        Raises:
            UserError: they cannot be read, or one has no direction.
        """
        for first in range(start, stop, _BLOCK):
            last = min(first + _BLOCK, stop)
            rows = self._read(first, last).reshape(-1, self.length)
            lengths = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
            wrong = np.flatnonzero(~((lengths[:, 0] > 0) & np.isfinite(lengths[:, 0])))
            if len(wrong):
                raise UserError(
                    f"{_FLAG}: the teacher's row of class {first + wrong[0] // self.centres} is zero or not finite; "
                    f"omit {_FLAG}"
                )
            out[(first - start) * self.centres : (last - start) * self.centres] = rows / lengths


def find_teacher_rows(config: Mapping[str, Any], model: TrainedModel | None) -> TeacherRows | None:
    """Return the class rows of the teacher ``model``; None for a run without ``teacher_logits``.

    Raises:
        UserError: it has none, or those of other classes than the run, or they are not compared by cosines.
    """
    if model is None or not config["teacher_logits"]:
        return None
    name = config["teacher"]
    classes, centres, length, read = _open_snapshot(name) if is_snapshot(name) else _open_foreign(model)
    if classes != config["num_classes"]:
        raise UserError(
            f"{_FLAG}: --teacher {name} has rows of {classes} classes, and this run has {config['num_classes']}; use a "
            f"teacher that was trained on the images of this run, or omit {_FLAG}"
        )
    theirs, ours = model.about.get("dataset", ""), config["dataset"]
    if theirs and theirs != ours and not config["use_synthetic_data"]:  # which has the name of no set of its own
        raise UserError(
            f"{_FLAG}: --teacher {name} has rows of the people of '{theirs}', and this run's are those of '{ours}'; "
            f"use a teacher that was trained on the images of this run (--name says what your own set is called), or "
            f"omit {_FLAG}"
        )
    if length != model.network.embedding_size:
        raise UserError(
            f"{_FLAG}: --teacher {name} has rows of {length} numbers and embeddings of {model.network.embedding_size}; "
            f"omit {_FLAG}"
        )
    return TeacherRows(centres, length, read)


_Rows = tuple[int, int, int, Callable[[int, int], np.ndarray]]  # classes, centres, length, and what reads them


def _open_snapshot(name: str) -> _Rows:
    snapshot = Snapshot.open(name)
    if not snapshot.has_classes:
        raise UserError(_without_rows(name, "is a backbone-only snapshot" if not snapshot.is_full else "has none"))
    about, names = snapshot.about["fc7"], snapshot.head_rows(0, 0)
    if "fc7_weight" not in names:
        raise UserError(_without_rows(name, "has none"))
    _check_bias(name, names)
    length = int(names["fc7_weight"].shape[-1])
    return (
        about["num_classes"],
        about.get("num_subcenters", 1),
        length,
        lambda start, stop: snapshot.head_rows(start, stop)["fc7_weight"],
    )


def _open_foreign(model: TrainedModel) -> _Rows:
    if "fc7_weight" not in model.head:
        raise UserError(_without_rows(model.path, "has none that this project reads"))
    _check_bias(model.path, model.head)
    rows = model.head["fc7_weight"]
    return len(rows), 1, int(rows.shape[1]), lambda start, stop: rows[start:stop]


def _without_rows(name: str, how: str) -> str:
    return f"{_FLAG} needs a teacher with class rows, and --teacher {name} {how}; use a full snapshot, or omit {_FLAG}"


def _check_bias(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    if "fc7_bias" in arrays:
        raise UserError(
            f"{_FLAG} compares cosines with class rows, and --teacher {name} was trained by a plain softmax, whose "
            f"rows have biases; use a teacher of a loss on cosines, or omit {_FLAG}"
        )
