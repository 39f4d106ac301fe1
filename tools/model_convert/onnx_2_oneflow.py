"""Convert an ONNX file into a snapshot: ``--onnx_path FILE --of_model_dir DIR``.

Reads files of this project, of InsightFace's PyTorch trainer (iresnet, mobilefacenet; BatchNorm folded or not,
preprocessing outside) and of MXNet's exporter, recognised by what the graph computes. Start a training from the
snapshot with ``--pretrained``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.errors import run_command
from interchange.agreement import Reference
from interchange.foreign_model import ForeignModel
from interchange.onnx.reader import OUTSIDE, read_onnx
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
        reference = run_file(path, foreign)
        if foreign.preprocesses:
            return reference
        mean, scale = OUTSIDE
        print(f"  its preprocessing is outside, (x - {mean}) * {scale:.7g}; the snapshot has it inside")
        return reference._replace(embed=lambda images: reference.embed((images - mean) * scale))

    make_snapshot(args, read_onnx(path), run, "onnx", path)


if __name__ == "__main__":
    run_command(main)
