"""Convert a snapshot into a PyTorch state dict: ``--of_model_dir DIR --torch_path backbone.pth`` (or ``.safetensors``).

arcface_torch's iresnet and MobileFaceNet, and AdaFace's and face.evoLVe's IR, load it with ``load_state_dict`` and take
images as (x - 127.5) / 127.5. The check reads the file back and embeds the same images with it.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import tempfile
from pathlib import Path

from backbones import build_network
from common.errors import UserError, run_command
from common.files import check_target, copy_file
from interchange.agreement import compare, load_images, require_agreement
from interchange.embedders import graph_embedder, oneflow_embedder
from interchange.image_input import RGB, InputFlags, format_shift, take_images
from interchange.pytorch.state import MEAN, SUFFIXES, read_torch, write_torch
from settings.config_file import load_tables
from snapshots.layout import describe_network
from snapshots.reader import Snapshot


def main() -> None:
    """Write to a temporary folder, read back, compare, copy into place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of_model_dir", "-of", required=True, help="snapshot to convert")
    parser.add_argument("--torch_path", required=True, help="file to write")
    parser.add_argument("--check_bin", default="", help="verification .bin with images for the check; default: noise")
    args = parser.parse_args()
    target = Path(args.torch_path)
    if target.suffix not in SUFFIXES:
        raise UserError(f"--torch_path {target}: the name must end in one of {', '.join(SUFFIXES)}")
    check_target(target, "--torch_path")
    snapshot = Snapshot.open(args.of_model_dir)
    network, arrays = build_network(snapshot.about["config"]), snapshot.backbone()
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / target.name
        for note in write_torch(trial, network, arrays):
            print(f"  {note}")
        shift = describe_network(network)["preprocessing"]
        flags = InputFlags() if shift["mean"] == MEAN else InputFlags(RGB, shift["mean"], shift["scale"])
        written = take_images(read_torch(trial, load_tables().network), flags)
        images = load_images(network, args.check_bin)
        agreement = compare(images, oneflow_embedder(network, arrays), graph_embedder(written.network, written.arrays))
        require_agreement(str(target), agreement, "OneFlow and the state dict")
        copy_file(trial, target)
    outside = "(x - 127.5) / 127.5" if shift["mean"] == MEAN else format_shift(shift)
    print(f"{target}: PyTorch state dict, preprocessing {outside} outside")


if __name__ == "__main__":
    run_command(main)
