"""Build the head of a run from its settings.

One computation (``ops.heads.margin_softmax``) in the forms of ``ops.heads.layout``. Where graphs can read rows in place
(the CPU with its kernels), the model parallel form is Partial FC with a sample of all rows.
"""

from __future__ import annotations

from common.errors import UserError, require
from ops import KERNELS, flow
from ops.heads.all_rows import MarginSoftmaxHead
from ops.heads.base import Head, Ranks
from ops.heads.layout import LOCAL, HeadLayout
from ops.heads.options import HeadOptions
from ops.heads.partial_fc import PartialFCHead
from ops.heads.triplet import DISTANCES, TripletHead
from ops.losses.registry import build_margin
from ops.native.rows import NativeRows
from ops.rows.storage import RowStorage


def build_head(options: HeadOptions, ranks: Ranks | None = None, storage: RowStorage | None = None) -> Head:
    """Return the head of ``options``, with initial rows drawn from their seed.

    Args:
        options: the settings; ``HeadOptions.from_config(config)`` takes them from those of a run.
        ranks: the ranks of the run. None makes a head of local tensors for one process, which also works eagerly and
            computes with all rows in each step.
        storage: holds the rows of Partial FC on a CPU; by default they are in memory.

    Raises:
        UserError: the loss is unknown (the message lists the known losses), Partial FC or bf16 rows are asked for
            without ranks, or bf16 rows where graphs cannot read rows in place.
    """
    placement = None if ranks is None else ranks.placement
    if options.loss.loss_name in DISTANCES:
        return TripletHead(options.loss.loss_name, options.loss.triplet_alpha, placement)
    if ranks is None:
        require(
            not options.partial_fc,
            "a head without ranks computes with all class rows, so partial_fc has no effect; build it with ranks "
            "(launch.world.join_world makes them, also for one process), or leave partial_fc out",
        )
        require(
            options.fc7_dtype == "float32",
            "bf16 class rows are read in place by graphs over ranks, and a head without ranks has none; build it with "
            "ranks (launch.world.join_world makes them, also for one process), or leave fc7_dtype out",
        )
        return MarginSoftmaxHead(options, LOCAL)
    is_sharded = options.model_parallel or options.partial_fc
    make_layout = HeadLayout.model_parallel if is_sharded else HeadLayout.replicated
    layout = make_layout(placement, ranks.rank)
    in_place = _reads_rows_in_place(options, placement)
    if options.fc7_dtype == "bf16":
        if not in_place:
            raise UserError(
                "--fc7_dtype bf16 needs the CPU kernels, a CPU and a loss other than inter: it has no other way to "
                f"compute with bfloat16 rows ({KERNELS}); omit it"
            )
        return PartialFCHead(options, layout, storage)
    if options.partial_fc or (options.model_parallel and in_place):
        return PartialFCHead(options, layout, storage)
    return MarginSoftmaxHead(options, layout)


def _reads_rows_in_place(options: HeadOptions, placement: flow.placement) -> bool:
    margin = build_margin(options.loss)
    return placement.type == "cpu" and NativeRows.available() and (margin is None or not margin.uses_centres)
