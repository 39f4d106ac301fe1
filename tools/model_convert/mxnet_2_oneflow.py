"""Convert an MXNet checkpoint into a snapshot: ``--mxnet_load_prefix P --mxnet_load_epoch N --of_model_dir DIR``.

Reads ``P-symbol.json`` and ``P-000N.params`` of InsightFace's networks, float32 or float16, with fc7 in one piece, in
shards, or without fc7. With fc7, training resumes from the snapshot by ``--model_load_dir``, without it by
``--pretrained``. MXNet is not required; if it is installed, it embeds the images of the check.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

from common.errors import run_command
from interchange.embedders import Embed, graph_embedder, has_mxnet, mxnet_embedder
from interchange.foreign_model import ForeignModel
from interchange.image_input import as_the_file_takes
from interchange.mxnet.checkpoint import checkpoint_paths, read_checkpoint
from settings.convert_command import cut_rows, make_parser, make_snapshot, require_free
from settings.option import parse_count


def main() -> None:
    """Read the checkpoint and write the snapshot."""
    parser = make_parser(__doc__)
    parser.add_argument("--mxnet_load_prefix", "-mx_load_prefix", required=True, help="path up to -symbol.json")
    parser.add_argument(
        "--mxnet_load_epoch", "-mx_load_epoch", type=parse_count, default=0, help="number in the .params name"
    )
    parser.add_argument(
        "--num_classes", type=parse_count, default=0, help="rows of fc7 to keep: shards may end in padding"
    )
    args = parser.parse_args()
    prefix, epoch = args.mxnet_load_prefix, args.mxnet_load_epoch
    require_free(args)
    foreign = read_checkpoint(prefix, epoch)
    if args.num_classes:
        cut_rows(foreign, args.num_classes)

    def run(foreign: ForeignModel) -> tuple[str, Embed]:
        if has_mxnet():
            embed, prepare = mxnet_embedder(prefix, epoch), as_the_file_takes(foreign)
            return "MXNet", lambda images: embed(prepare(images))
        return "the symbol in onnxruntime", graph_embedder(foreign.network, foreign.arrays)

    make_snapshot(args, foreign, run, "mxnet", checkpoint_paths(prefix, epoch)[1])


if __name__ == "__main__":
    run_command(main)
