"""The interface of heads, and the base class of heads with class rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from typing_extensions import override

from common.errors import UserError, require
from ops import flow
from ops.heads.class_shards import ClassShards, initial_class_rows, write_initial_rows
from ops.heads.layout import HeadLayout
from ops.heads.loss_state import LossState
from ops.heads.margin_softmax import MarginSoftmax
from ops.heads.options import HeadOptions
from ops.rows.bank import RowBank
from ops.rows.bfloat16_rows import BFloat16Rows, RowPlace
from ops.rows.selection import RowSelection, set_rows
from ops.rows.storage import RowStorage
from ops.runtime.tensors import local_view

# Arguments: the first class, the one after the last, and where to write their rows of length 1, float32 [N, F].
ReadUnitRows = Callable[[int, int, np.ndarray], None]


class Ranks(Protocol):
    """The ranks of a run and the transfers between them; ``launch.world.World`` is one.

    Attributes:
        rank: the number of this rank.
        placement: the devices of all ranks.
    """

    rank: int
    placement: flow.placement

    def split(self, local: np.ndarray | flow.Tensor, axis: int = 0) -> flow.Tensor:
        """Return the global tensor, split along ``axis``, of which ``local`` is this rank's part."""

    def gather(self, local: np.ndarray) -> np.ndarray:
        """Return the arrays of all ranks, concatenated along the first axis. A collective call."""


class HeadResult(NamedTuple):
    """The results of a head in one step.

    Attributes:
        loss: mean loss, a scalar.
        correct: images whose own class is the nearest, without margin, a scalar.
        logged_loss: what logs call lossvalue: for losses on class rows the cross entropy without extra loss terms.
        trained: the tensors to differentiate ``loss`` by, one for each parameter of the head, in their order.
    """

    loss: flow.Tensor
    correct: flow.Tensor
    logged_loss: flow.Tensor
    trained: list[flow.Tensor]


class Head(flow.nn.Module):
    """Embeddings to a loss, in two calls: ``prepare`` before the graph, the module itself inside it::

        inputs = head.prepare(labels, step, world)           # outside: samples, transfers
        result = head(embeddings, *inputs)                   # inside the graph: HeadResult
        gradients = autograd.grad([result.loss], result.trained)
        gradients = head.row_gradients(gradients)            # outside: of the parameters, or of their selected rows

    Attributes:
        loss: the module that computes the loss and holds its moving values.
        banks: the row banks that update parameters of which a step trains selected rows only, by parameter name; empty
            where each step trains all rows.
        image_inputs: how many of the tensors that ``prepare`` returns have a value for each image: labels, and with
            some losses margins.
    """

    loss: LossState
    image_inputs = 1

    def __init__(self) -> None:
        super().__init__()
        self.banks: dict[str, RowBank] = {}

    @property
    def learns_classes(self) -> bool:
        """Whether ``learn_from`` was called: ``forward`` then takes the teacher's embeddings as ``taught``."""
        return False

    def describe(self) -> str:
        """Return a line about the head for the log."""
        raise NotImplementedError

    def prepare(self, labels: np.ndarray, step: int = 0, ranks: Ranks | None = None) -> list[flow.Tensor]:
        """Return what the head needs in ``step`` besides the embeddings. A collective call.

        The first tensor is int32 [B], split(0). A piece of the batch takes the same piece of the first ``image_inputs``
        tensors, and the others whole.

        Args:
            labels: classes of this rank's images, int32 [B / number of ranks].
            step: number of the step, from 0.
            ranks: the transfers between ranks; None in one process, where all tensors are local.
        """
        return [flow.from_numpy(labels) if ranks is None else ranks.split(labels)]

    @property
    def gradient_sbps(self) -> list[tuple[flow.sbp.sbp, ...]]:
        """The SBP of the gradients by ``HeadResult.trained`` as they leave the graph, in their order."""
        return [parameter.sbp for parameter in self.parameters()]

    @property
    def row_bytes(self) -> int:
        """The bytes of this rank's parameters, without moments."""
        return sum(local_view(parameter).nelement() * 4 for parameter in self.parameters())

    def row_gradients(self, returned: Sequence[flow.Tensor]) -> list[flow.Tensor]:
        """Return the gradients of the parameters, or of their selected rows; valid until a graph is called again.

        Args:
            returned: the gradients by ``HeadResult.trained``, which the graph returned.
        """
        return list(returned)


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Check the classes of images.

    Raises:
        UserError: they are not an array int32 [B] or int64 [B], or one is not in 0..``num_classes`` - 1.
    """
    is_array = isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype in (np.int32, np.int64)
    require(is_array, "the labels are not a numpy array, int32 [B] or int64 [B]")
    wrong = labels[(labels < 0) | (labels >= num_classes)].tolist()
    if wrong:
        raise UserError(f"label {wrong[0]} is not in 0..{num_classes - 1}, the classes of this head")


class ClassHead(Head):
    """A head with class rows: one shard on every rank (replicated), or one shard per rank (model parallel).

    Attributes:
        layout: how rows, logits and the batch lie over the ranks.
        shards: which classes each shard holds.
        shard: the shard that this rank holds.
        centres: rows per class, consecutive (Sub-center ArcFace).
        emb_size: E, the length of a row.
        weight: fc7 weight [shards.padded * centres, E], laid out as ``layout`` says; None if the rows are bfloat16.
        bfloat16_rows: this rank's rows [shards.rows * centres, E] and their moments in bfloat16; None for float32.
        bias: float32 [shards.padded], or None.
        taught_centres: rows per class of a teacher, consecutive; 0 without one.
    """

    loss: MarginSoftmax

    def __init__(self, options: HeadOptions, layout: HeadLayout, storage: RowStorage | None = None) -> None:
        """Create the rows with the initial values of the seed; biases start at 0.

        ``storage`` holds the rows on a CPU; by default they are in memory.
        """
        super().__init__()
        self.layout = layout
        self.centres = options.num_subcenters
        self.emb_size = options.emb_size
        self.taught_centres = 0
        self.shards = ClassShards(options.num_classes, layout.shards)
        self.shard = layout.shard
        start, stop = (row * self.centres for row in self.shards.real_rows(self.shard))
        shape = (self.shards.rows * self.centres, options.emb_size)
        self.weight, self.bfloat16_rows, self.bias = None, None, None
        if options.fc7_dtype == "bf16":
            self.bfloat16_rows = BFloat16Rows(shape, RowPlace(options.seed, start), storage, not layout.is_sharded)
            write_initial_rows(options.seed, start, stop, options.emb_size, self.bfloat16_rows.weight.write)
        else:
            rows = (storage or RowStorage()).zeros(shape)
            initial_class_rows(options.seed, start, stop, options.emb_size, out=rows[: stop - start])
            self.weight = flow.nn.Parameter(layout.place_rows(flow.from_numpy(rows)))
        if options.has_bias:
            self.bias = flow.nn.Parameter(layout.place_rows(flow.zeros(self.shards.rows)))

    @property
    @override
    def learns_classes(self) -> bool:
        return self.taught_centres > 0

    def learn_from(self, read: ReadUnitRows, length: int, centres: int = 1) -> None:
        """Learn the softmax over the classes of a teacher, too, by the weight of ``HeadOptions.teacher_logits``.

        This rank keeps the rows of its classes, which are no parameters: snapshots do not hold them.

        Args:
            read: reads the teacher's rows of the same classes.
            length: F, of a row.
            centres: rows per class, consecutive.
        """
        self.taught_centres, self._taught_length = centres, length

    def _read_taught(self, read: ReadUnitRows, storage: RowStorage) -> np.ndarray:
        """Return a teacher's rows of this rank's classes, float32 [shards.rows * centres, F]; padding rows are 0."""
        start, stop = self.shards.real_rows(self.shard)
        rows = storage.zeros((self.shards.rows * self.taught_centres, self._taught_length))
        read(start, stop, rows[: (stop - start) * self.taught_centres])
        return rows

    @override
    def prepare(self, labels: np.ndarray, step: int = 0, ranks: Ranks | None = None) -> list[flow.Tensor]:
        """Return the labels, and with some losses the images' margins.

        Without ``ranks``, which come with checked images, check the labels: OneFlow would abort.

        Raises:
            UserError: the labels are not int32 [B] or int64 [B], or one is not a class of this head.
        """
        if ranks is None:
            check_labels(labels, self.shards.num_classes)
        return [*super().prepare(labels, step, ranks), *self._image_margins(labels, step, ranks)]

    def _image_margins(self, labels: np.ndarray, step: int, ranks: Ranks | None) -> list[flow.Tensor]:
        """Return the margins of this rank's images, float32 [B], split(0), if the loss has them."""
        if not self.loss.has_image_margins:
            return []
        margins = self.loss.image_margins(labels, step, 0 if ranks is None else ranks.rank * len(labels))
        return [flow.from_numpy(margins) if ranks is None else ranks.split(margins)]

    @property
    @override
    def image_inputs(self) -> int:
        return 1 + self.loss.has_image_margins

    @property
    @override
    def row_bytes(self) -> int:
        rows = self.bfloat16_rows
        return super().row_bytes + (rows.weight.stored.nbytes if rows is not None else 0)

    @property
    def row_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one row of each parameter, by its name."""
        return {"weight": (self.emb_size,)} | ({} if self.bias is None else {"bias": ()})

    def view_rows(self) -> dict[str, np.ndarray]:
        """Return this rank's parameters by name, as they are stored; those in the CPU's memory themselves.

        Float32, or ``common.bfloat16.BFLOAT16``.
        """
        rows = {} if self.bfloat16_rows is None else {"weight": self.bfloat16_rows.weight.stored}
        return rows | {name: local_view(parameter).numpy() for name, parameter in self._row_parameters()}

    def _row_parameters(self) -> Iterator[tuple[str, flow.Tensor]]:
        return self.named_parameters(recurse=False)

    def read_centres(self, indices: np.ndarray) -> np.ndarray:
        """Return rows of this rank's weight, int64 [K], as float32 [K, E]."""
        if self.bfloat16_rows is not None:
            return self.bfloat16_rows.weight.read(indices)
        local = local_view(self.weight)
        return flow._C.gather(local, flow.tensor(indices, device=local.device), axis=0).numpy()

    def load_rows(self, name: str, where: RowSelection, rows: np.ndarray) -> None:
        """Set some rows of this rank's parameter ``name`` to float32 values."""
        if name == "weight" and self.bfloat16_rows is not None:
            self.bfloat16_rows.weight.write(rows, where)
        else:
            set_rows(local_view(getattr(self, name)), where, rows)

    @override
    def describe(self) -> str:
        classes = f"{self.shards.num_classes} classes, {self.shards.rows} rows per rank"
        classes += "" if self.bfloat16_rows is None else " in bfloat16"
        place = self.layout.placement
        if place is None:
            return f"fc7: one process, {classes}"
        return f"fc7: placement {place.type} x {np.prod(place.ranks.shape)} ranks, sbp {self.layout.rows}, {classes}"
