"""Convert a model to OpenVINO's IR and check it on real faces.

    python tools/deploy/to_openvino.py --model_load_dir DIR --output y1_openvino

Writes the folder with model.xml and model.bin, which takes any number of images [N, 3, S, S], RGB 0..255. --precision
float16 stores weights in half the bytes; bf16 is for a program that leaves the precision of the computation to
OpenVINO, which is bfloat16 where the CPU has it: other thresholds hold. tools/deploy/quantize.py writes int8.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

from common.errors import run_command
from deploy.convert import convert_and_check, run_converter
from deploy.flags import check_conversion_flags, make_parser, make_task
from deploy.registry import OPENVINO, TO_OPENVINO


def main() -> None:
    """Parse the command line, convert, check, and keep the result."""
    args = make_parser(__doc__, "the folder to write", ["float32", "float16", "bf16"]).parse_args()
    check_conversion_flags(args)
    half = args.precision != "float32"
    hints = ("bf16", "f32") if args.precision == "bf16" else ("f32", "bf16")
    labels = [f"openvino, INFERENCE_PRECISION_HINT {hint}" for hint in hints]
    convert_and_check(
        make_task(
            args,
            precision=args.precision,
            label=labels[0],
            runtime=OPENVINO,
            convert=lambda _, onnx_file, target: run_converter(TO_OPENVINO, onnx_file, target / "model.xml", half=half),
            options={"precision": hints[0]},
            file="model.xml",
            others=[(labels[1], {"precision": hints[1]})],
        )
    )


if __name__ == "__main__":
    run_command(main)
