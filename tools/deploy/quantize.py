"""Quantise a model to int8, for onnxruntime or OpenVINO, and check it on real faces.

    python tools/deploy/quantize.py --model_load_dir DIR --calibration datasets/faces_orl --output y1_int8.onnx

Prints cosine, verification accuracy, threshold and images per second beside the model; a result that differs by more
than --min_cosine or --max_accuracy_drop is not kept. With ``--engine openvino`` the output is a folder with model.xml
and model.bin.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import tempfile
from pathlib import Path

import numpy as np

from common.errors import run_command
from common.wording import counted
from deploy.convert import convert_and_check, run_converter
from deploy.faces import load_sample
from deploy.flags import add_calibration_flags, check_conversion_flags, make_parser, make_task
from deploy.registry import NNCF, ONNXRUNTIME, OPENVINO, TO_OPENVINO
from deploy.source import Source
from deploy.static_int8 import quantize_static_int8


def main() -> None:
    """Parse the command line, quantise, check, and keep the result."""
    parser = make_parser(__doc__, "the .onnx to write; with --engine openvino a folder", ["int8"])
    parser.add_argument("--engine", choices=("onnxruntime", "openvino"), default="onnxruntime", help="what runs it")
    parser.add_argument(
        "--last_layer",
        choices=("float", "int8"),
        default="float",
        help="the last fully connected layer; int8 is smaller, and wrong in OpenCV 4 for more than one image",
    )
    add_calibration_flags(parser, needed=True)
    args = parser.parse_args()
    for_openvino = args.engine == "openvino"
    contradictions = []
    if for_openvino and args.last_layer == "int8":
        contradictions.append("--last_layer int8 is for --engine onnxruntime; OpenVINO quantises this layer always")
    check_conversion_flags(args, "" if for_openvino else ".onnx", *contradictions)

    def convert(source: Source, onnx_file: Path, target: Path) -> None:
        images = load_sample(args.calibration, source.size, args.images, args.seed, "--calibration")
        print(f"calibrating with {counted(len(images), 'image')} of {args.calibration}")
        if not for_openvino:
            quantize_static_int8(onnx_file, target, images, args.last_layer == "int8")
            return
        with tempfile.TemporaryDirectory() as folder:
            calibration = Path(folder) / "images.npy"
            np.save(calibration, images)
            run_converter(TO_OPENVINO, onnx_file, target / "model.xml", calibration=str(calibration))

    convert_and_check(
        make_task(
            args,
            precision="int8",
            label=f"{args.engine}, int8",
            runtime=OPENVINO if for_openvino else ONNXRUNTIME,
            convert=convert,
            needs=[NNCF] if for_openvino else [],
            file="model.xml" if for_openvino else "",
        )
    )


if __name__ == "__main__":
    run_command(main)
