"""Export a snapshot's backbone to ONNX: ``python tools/oneflow2onnx.py --model_load_dir DIR --onnx_path FILE``.

The model takes ``data`` [N, 3, 112, 112] float32, RGB 0..255, any N, and returns the embedding ``fc1`` [N, E];
preprocessing is inside, opset 17. The file is kept only if onnxruntime and OneFlow compute the same embeddings.
``--fp16 1`` stores the weights as float16, ``--fuse_bn 1`` folds BatchNorms into convolutions.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backbones import build_network
from common.errors import run_command
from common.files import atomic_file
from interchange.agreement import HALF_TOLERANCE, TOLERANCE, compare, load_images, require_agreement
from interchange.embedders import oneflow_embedder, onnx_embedder
from interchange.matching.fold_batch_norm import fold_convolutions
from interchange.onnx.writer import write_onnx
from settings.option import parse_bool
from snapshots.reader import Snapshot


def describe(snapshot: Snapshot) -> dict[str, str]:
    """Return the metadata stored in the model."""
    about = snapshot.about
    shift = about["preprocessing"]
    return {
        "network": about["config"]["network"],
        "loss": about["config"]["loss"],
        "dataset": about["config"]["dataset"],
        "step": str(about["step"]),
        "preprocessing": f"inside the model: (x - {shift['mean']}) * {shift['scale']}",
        "input": "RGB, 0..255",
        "config": json.dumps(about["config"], sort_keys=True),
        "source_sha256": about["files"]["backbone.safetensors"]["sha256"],
    }


def main() -> None:
    """Parse the command line, export, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_load_dir", required=True, help="snapshot to export")
    parser.add_argument("--onnx_path", required=True, help="file to write")
    parser.add_argument("--fp16", type=parse_bool, nargs="?", const=True, default=False, help="weights in float16")
    parser.add_argument(
        "--fuse_bn", type=parse_bool, nargs="?", const=True, default=False, help="fold BatchNorms into convolutions"
    )
    parser.add_argument("--check_bin", default="", help="verification .bin with images for the check; default: noise")
    args = parser.parse_args()

    snapshot = Snapshot.open(args.model_load_dir)
    graph, arrays = build_network(snapshot.about["config"]), snapshot.backbone()
    written = fold_convolutions(graph, arrays) if args.fuse_bn else (graph, arrays)
    model = write_onnx(*written, describe(snapshot), half=args.fp16).SerializeToString()
    images = load_images(graph, args.check_bin)
    agreement = compare(images, oneflow_embedder(graph, arrays), onnx_embedder(model))
    tolerance = HALF_TOLERANCE if args.fp16 else TOLERANCE
    require_agreement(args.onnx_path, agreement, "OneFlow and onnxruntime", tolerance)
    with atomic_file(args.onnx_path) as file:
        file.write(model)
    print(
        f"{args.onnx_path}: {len(model) / 1e6:.1f} MB, input data [N, 3, S, S], output fc1 [N, {graph.embedding_size}]"
    )


if __name__ == "__main__":
    run_command(main)
