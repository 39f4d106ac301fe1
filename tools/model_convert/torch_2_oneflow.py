"""Convert a PyTorch checkpoint into a snapshot: ``--torch_path backbone.pth --of_model_dir DIR``.

Reads what arcface_torch, FaceX-Zoo, face.evoLVe, InsightFace_Pytorch, AdaFace, TFace and CVLFace save (``.pth``,
``.pt``, ``.ckpt``, safetensors), without PyTorch and without running code of the file. Class rows in the file, or in
arcface_torch's file for each rank beside it, come along: training resumes from the snapshot by ``--model_load_dir``,
without them it starts by ``--pretrained``.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

from dataclasses import replace
from pathlib import Path

from common.errors import UserError, run_command
from interchange.embedders import graph_embedder
from interchange.foreign_model import ForeignModel
from interchange.pytorch.class_rows import join_ranks, rank_files
from interchange.pytorch.state import read_torch
from settings.config_file import load_tables
from settings.convert_command import cut_rows, make_parser, make_snapshot, require_free
from settings.option import parse_count

ROWS_OF_RANKS, NO_ROWS = "auto", "none"


def with_rows(foreign: ForeignModel, path: str, source: str, classes: int) -> ForeignModel:
    """Return the model with the class rows of all ranks, if there are files of ranks.

    Args:
        foreign: the model as it was read from ``path``.
        path: its file.
        source: a file of class rows of any rank; ``auto`` for those beside ``path``, ``none`` to take no rows.
        classes: rows to keep; 0: all.

    Raises:
        UserError: a rank's file is missing, or the rows do not belong together.
    """
    if source == NO_ROWS:
        return replace(foreign, head={})
    files = rank_files(path if source == ROWS_OF_RANKS else source)
    if files:
        try:
            rows = join_ranks(files, foreign.network.embedding_size)
        except UserError as error:
            raise UserError(f"{error}; --class_rows {NO_ROWS} leaves them out") from error
        names = f"{files[0].name} ... {files[-1].name}" if len(files) > 1 else files[0].name
        ranks = f"{len(files)} ranks" if len(files) > 1 else "1 rank, no other file is beside it"
        note = f"rows of {len(rows)} classes, joined from {ranks}: {names}"
        own = tuple(each for each in foreign.notes if "state_dict_softmax_fc" not in each)
        foreign = replace(foreign, head={"fc7_weight": rows}, notes=(*own, note))
    if classes:
        cut_rows(foreign, classes)
    return foreign


def main() -> None:
    """Read the file and write the snapshot."""
    parser = make_parser(__doc__)
    parser.add_argument("--torch_path", required=True, help="file to read: .pth, .pt, .ckpt or .safetensors")
    parser.add_argument(
        "--class_rows",
        default=ROWS_OF_RANKS,
        help="a rank's file of class rows; all ranks are joined. auto (default): those beside --torch_path; none",
    )
    parser.add_argument(
        "--num_classes",
        type=parse_count,
        default=0,
        help="class rows to keep: those of several ranks may end in padding",
    )
    args = parser.parse_args()
    require_free(args)
    foreign = read_torch(args.torch_path, load_tables().network)
    foreign = with_rows(foreign, args.torch_path, args.class_rows, args.num_classes)
    make_snapshot(
        args,
        foreign,
        lambda model: ("onnxruntime", graph_embedder(model.network, model.arrays)),
        "torch",
        Path(args.torch_path),
    )


if __name__ == "__main__":
    run_command(main)
