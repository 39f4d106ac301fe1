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
from interchange.embedders import Embed, onnx_embedder
from interchange.foreign_model import ForeignModel
from interchange.onnx.reader import OUTSIDE, read_onnx
from settings.convert_command import make_parser, make_snapshot, require_free


def main() -> None:
    """Read the file and write the snapshot."""
    parser = make_parser(__doc__)
    parser.add_argument("--onnx_path", required=True, help="file to read")
    args = parser.parse_args()
    require_free(args)
    path = Path(args.onnx_path)

    def run(foreign: ForeignModel) -> tuple[str, Embed]:
        embed = onnx_embedder(path.read_bytes())
        if foreign.preprocesses:
            return "onnxruntime", embed
        mean, scale = OUTSIDE
        print(f"  its preprocessing is outside, (x - {mean}) * {scale:.7g}; the snapshot has it inside")
        return "onnxruntime", lambda images: embed((images - mean) * scale)

    make_snapshot(args, read_onnx(path), run, "onnx", path)


if __name__ == "__main__":
    run_command(main)
