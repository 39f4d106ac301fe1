"""Convert a PyTorch state dict into a snapshot: ``--torch_path backbone.pth --of_model_dir DIR``.

Reads ``.pth`` files (torch 1.6 and newer) and safetensors of arcface_torch's iresnet and MobileFaceNet, without PyTorch
and without running code of the pickle. Start a training from the snapshot with ``--pretrained``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.errors import run_command
from interchange.embedders import graph_embedder
from interchange.pytorch.state import read_torch
from settings.config_file import load_tables
from settings.convert_command import make_parser, make_snapshot, require_free


def main() -> None:
    """Read the file and write the snapshot."""
    parser = make_parser(__doc__)
    parser.add_argument("--torch_path", required=True, help=".pth or .safetensors file to read")
    args = parser.parse_args()
    require_free(args)
    foreign = read_torch(args.torch_path, load_tables().network)
    make_snapshot(
        args,
        foreign,
        lambda model: ("onnxruntime", graph_embedder(model.network, model.arrays)),
        "torch",
        Path(args.torch_path),
    )


if __name__ == "__main__":
    run_command(main)
