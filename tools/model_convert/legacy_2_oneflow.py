"""Convert a model of an older OneFlow port into a snapshot: ``--legacy_dir OLD --of_model_dir DIR``.

Reads folders with one folder per variable (``conv0-weight/out``, raw float32) and the files of ``flow.save``, such as
the models of arcface_oneflow. Momentum is not converted.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

from common.errors import UserError, run_command
from interchange.embedders import graph_embedder
from interchange.oneflow.folders import is_oneflow_folder, read_oneflow_folder
from interchange.open_model import model_file
from settings.config_file import load_tables
from settings.convert_command import make_parser, make_snapshot, require_free


def main() -> None:
    """Read the folder and write the snapshot."""
    parser = make_parser(__doc__)
    parser.add_argument("--legacy_dir", required=True, help="folder to read")
    args = parser.parse_args()
    require_free(args)
    if not is_oneflow_folder(args.legacy_dir):
        raise UserError(f"--legacy_dir {args.legacy_dir} has neither pickled_data nor folders like conv0-weight")
    foreign = read_oneflow_folder(args.legacy_dir, load_tables().network)
    make_snapshot(
        args,
        foreign,
        lambda model: ("onnxruntime", graph_embedder(model.network, model.arrays)),
        "oneflow folder",
        model_file(args.legacy_dir),
    )


if __name__ == "__main__":
    run_command(main)
