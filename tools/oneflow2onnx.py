"""Export a snapshot's backbone to ONNX: ``python tools/oneflow2onnx.py --model_load_dir DIR --onnx_path FILE``.

The model takes ``data`` [N, 3, 112, 112] float32, RGB 0..255, any N, and returns the embedding ``fc1`` [N, E];
preprocessing is inside, opset 17. BatchNorms are folded into the layers before them, and the metadata keep what
makes a snapshot of the file exact. The file is kept only if onnxruntime and OneFlow compute the same embeddings.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse

from backbones import build_network
from common.errors import run_command
from common.files import atomic_file, check_target
from interchange.agreement import HALF_TOLERANCE, TOLERANCE, compare, load_images, require_agreement
from interchange.embedders import oneflow_embedder
from interchange.onnx.form import DEFAULT_OPSET, LAYOUTS, METADATA, OPSETS, ExportForm
from interchange.onnx.metadata import preprocessing
from interchange.onnx_export import export_model, exported_embedder
from settings.option import parse_bool, parse_count
from snapshots.reader import Snapshot


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add_switch(flag: str, default: bool, text: str) -> None:
        parser.add_argument(flag, type=parse_bool, nargs="?", const=True, default=default, help=text)

    parser.add_argument("--model_load_dir", required=True, help="snapshot to export")
    parser.add_argument("--onnx_path", required=True, help="file to write")
    add_switch("--fp16", False, "weights in float16")
    add_switch("--fuse_bn", True, "fold BatchNorms into the layers before them; default: 1")
    add_switch("--preprocess", True, "0: callers compute (x - mean) * scale; default: 1, inside the model")
    parser.add_argument("--batch", type=parse_count, default=0, help="fixed number of images; default: 0, any")
    parser.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        default=DEFAULT_OPSET,
        metavar="N",
        help=f"version of ONNX's operators, {OPSETS[0]} to {OPSETS[-1]}; default: {DEFAULT_OPSET}",
    )
    parser.add_argument("--input_layout", choices=LAYOUTS, default=LAYOUTS[0], help="axes of the images; default: NCHW")
    parser.add_argument(
        "--metadata",
        choices=METADATA,
        default=METADATA[0],
        help="full: all settings of the training except paths, and what makes a re-import exact; short: network, "
        "step, input; none: nothing. Default: full",
    )
    parser.add_argument("--check_bin", default="", help="verification .bin with images for the check; default: noise")
    return parser


def main() -> None:
    """Parse the command line, export, compare, write."""
    args = make_parser().parse_args()
    check_target(args.onnx_path, "--onnx_path")
    form = ExportForm(
        half=args.fp16,
        fold=args.fuse_bn,
        batch=args.batch,
        opset=args.opset,
        preprocess=args.preprocess,
        layout=args.input_layout,
        metadata=args.metadata,
    )
    snapshot = Snapshot.open(args.model_load_dir)
    graph, arrays = build_network(snapshot.about["config"]), snapshot.backbone()
    model = export_model(snapshot.about, graph, arrays, form).SerializeToString()
    images = load_images(graph, args.check_bin)
    agreement = compare(images, oneflow_embedder(graph, arrays), exported_embedder(model, graph, form))
    require_agreement(args.onnx_path, agreement, "OneFlow and onnxruntime", HALF_TOLERANCE if form.half else TOLERANCE)
    with atomic_file(args.onnx_path) as file:
        file.write(model)
    size = snapshot.about["config"]["image_size"]
    axes = f"{size}, {size}, 3" if form.layout == "NHWC" else f"3, {size}, {size}"
    batch = form.batch or "N"
    shapes = f"input data [{batch}, {axes}], output fc1 [{batch}, {graph.embedding_size}]"
    print(f"{args.onnx_path}: {len(model) / 1e6:.1f} MB, {shapes}")
    if not form.preprocess:
        mean, scale = preprocessing(graph)
        print(f"  images go in as (x - {mean}) * {scale}, RGB")


if __name__ == "__main__":
    run_command(main)
