"""Convert an ONNX file into a snapshot: ``--onnx_path FILE --of_model_dir DIR``.

Reads files of this project, of InsightFace's PyTorch trainer (iresnet, mobilefacenet; BatchNorm folded or not,
preprocessing outside) and of MXNet's exporter, of any or one batch size, recognised by what the graph computes. What is
assumed about the images is printed; --color_order, --input_mean and --input_scale set it. Start a training from the
snapshot with ``--pretrained``.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

from pathlib import Path

from common.errors import run_command
from interchange.agreement import Reference
from interchange.foreign_model import ForeignModel
from interchange.image_input import as_the_file_takes
from interchange.onnx.reader import read_onnx
from interchange.onnx_reference import run_file
from settings.convert_command import make_parser, make_snapshot, require_free


def main() -> None:
    """Read the file and write the snapshot."""
    parser = make_parser(__doc__)
    parser.add_argument("--onnx_path", required=True, help="file to read")
    args = parser.parse_args()
    require_free(args)
    path = Path(args.onnx_path)

    def run(foreign: ForeignModel) -> Reference:
        reference, prepare = run_file(path, foreign), as_the_file_takes(foreign)
        return reference._replace(embed=lambda images: reference.embed(prepare(images)))

    make_snapshot(args, read_onnx(path), run, "onnx", path)


if __name__ == "__main__":
    run_command(main)
