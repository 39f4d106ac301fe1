"""Convert a snapshot into an MXNet checkpoint: ``--of_model_dir DIR --mxnet_save_prefix P --mxnet_save_epoch 0``.

Writes ``P-symbol.json`` and ``P-0000.params``, which ``mx.model.load_checkpoint`` and ``Module`` run, under
InsightFace's names, preprocessing inside; output ``fc1``. ``--fc7 1`` adds the class centres and the output ``fc7``.
MXNet is not required; if it is installed, it embeds the images of the check.
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

import numpy as np

from backbones import build_network
from common.errors import UserError, run_command
from common.files import check_target, copy_file
from common.flag_checks import check_flags
from interchange.agreement import compare, load_images, require_agreement
from interchange.embedders import graph_embedder, has_mxnet, mxnet_embedder, oneflow_embedder
from interchange.mxnet.checkpoint import checkpoint_paths, read_checkpoint, write_checkpoint
from settings.option import parse_bool, parse_count
from snapshots.reader import Snapshot


def read_head(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """Return ``fc7_weight`` and, if it exists, ``fc7_bias``.

    Raises:
        UserError: the snapshot has no class rows, or several for each class.
    """
    if not snapshot.has_classes:
        raise UserError(
            f"--fc7 1: {snapshot.path} has no class rows: it is a backbone-only snapshot or one of a triplet loss"
        )
    facts = snapshot.about["fc7"]
    if facts.get("num_subcenters", 1) != 1:
        raise UserError(f"--fc7 1: {snapshot.path} has {facts['num_subcenters']} centres per class; MXNet supports one")
    rows = snapshot.head_rows(0, facts["num_classes"])
    return {name: rows[name] for name in ("fc7_weight", "fc7_bias") if name in rows}


def main() -> None:
    """Write to a temporary folder, compare, copy into place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of_model_dir", "-of", required=True, help="snapshot to convert")
    parser.add_argument("--mxnet_save_prefix", "-mx_save_prefix", required=True, help="path up to -symbol.json")
    parser.add_argument(
        "--mxnet_save_epoch", "-mx_save_epoch", type=parse_count, default=0, help="number in the .params name"
    )
    parser.add_argument("--fc7", type=parse_bool, nargs="?", const=True, default=False, help="include class centres")
    parser.add_argument("--check_bin", default="", help="verification .bin with images for the check; default: noise")
    args = parser.parse_args()
    check_flags(args, "mxnet_save_prefix")
    targets = checkpoint_paths(args.mxnet_save_prefix, args.mxnet_save_epoch)
    check_target(targets[0], "--mxnet_save_prefix")
    snapshot = Snapshot.open(args.of_model_dir)
    network, arrays = build_network(snapshot.about["config"]), snapshot.backbone()
    head = read_head(snapshot) if args.fc7 else {}
    images = load_images(network, args.check_bin)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "model"
        files = write_checkpoint(trial, args.mxnet_save_epoch, network, arrays, head)
        if has_mxnet():
            name, theirs = "MXNet", mxnet_embedder(trial, args.mxnet_save_epoch)
        else:
            foreign = read_checkpoint(trial, args.mxnet_save_epoch)
            name, theirs = "the symbol in onnxruntime", graph_embedder(foreign.network, foreign.arrays)
        ours = oneflow_embedder(network, arrays)
        require_agreement(str(targets[1]), compare(images, ours, theirs), f"OneFlow and {name}")
        for file, target in zip(reversed(files), reversed(targets), strict=True):
            copy_file(file, target)
    print(f"{targets[0]} and {targets[1].name}: outputs fc1{' and fc7' * bool(head)}")


if __name__ == "__main__":
    run_command(main)
